'use strict';

const { version: platformVersion } = require('zapier-platform-core');
const { version } = require('./package.json');
const authentication = require('./authentication');
const { withKey } = require('./lib/guard');
const { refuseProblems } = require('./lib/problems');

const byKey = (...parts) => Object.fromEntries(parts.map((part) => [part.key, part]));

module.exports = {
  version,
  platformVersion,
  authentication,
  beforeRequest: [withKey],
  afterResponse: [refuseProblems],
  creates: byKey(
    require('./creates/guarded_operation'),
    require('./creates/checkpoint'),
    require('./creates/seal'),
    require('./creates/revert_run'),
  ),
  triggers: byKey(require('./triggers/run_finished'), ...require('./triggers/lists')),
  searches: byKey(require('./searches/find_run')),
};
