'use strict';

const { post, runIn } = require('../lib/guard');
const { answerOf } = require('../lib/answers');
const { run } = require('../lib/samples');

const perform = async (z, bundle) =>
  answerOf(await post(z, bundle, `/v1/runs/${runIn(z, bundle.inputData.run)}/seal`, {}));

module.exports = {
  key: 'seal',
  noun: 'Run',
  display: {
    label: 'Seal',
    description: 'Ends a checkpoint: what changed since is what its revert link takes back.',
  },
  operation: {
    perform,
    sample: { ...run, records_unchanged: 0 },
    inputFields: [
      { key: 'run', label: 'Run', type: 'string', required: true, helpText: 'Map the ID of the Checkpoint step.' },
    ],
  },
};
