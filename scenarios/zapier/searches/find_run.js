'use strict';

const { get, runIn } = require('../lib/guard');
const { answerOf } = require('../lib/answers');
const { given, target } = require('../lib/fields');
const { run: sample } = require('../lib/samples');

const byId = async (z, bundle) => {
  try {
    return [answerOf(await get(z, bundle, `/v1/runs/${runIn(z, bundle.inputData.run)}`))];
  } catch (error) {
    // Zapier's own errors carry their members as JSON.
    if (error.name === 'AppError' && JSON.parse(error.message).status === 404) {
      return [];
    }
    throw error;
  }
};

const newest = async (z, bundle) => {
  const { target: name, scenario, status, since } = bundle.inputData;
  const { runs } = await get(z, bundle, '/v1/runs', given({ limit: 200, target: name, since }));
  const fits = (run) => (!scenario || run.scenario === scenario) && (!status || run.status === status);
  return runs.map(answerOf).filter(fits).slice(0, 1);
};

const perform = (z, bundle) => (bundle.inputData.run ? byId(z, bundle) : newest(z, bundle));

module.exports = {
  key: 'find_run',
  noun: 'Run',
  display: {
    label: 'Find Run',
    description: 'Finds a run by its ID or link, or the newest one of a target or a name, with its revert link.',
  },
  operation: {
    perform,
    sample,
    inputFields: [
      { key: 'run', label: 'Run', type: 'string', helpText: 'Its ID, or its revert link. Then what is below is not looked at.' },
      { ...target, required: false, altersDynamicFields: false },
      { key: 'scenario', label: 'Name in the history', type: 'string' },
      { key: 'status', label: 'Status', type: 'string', helpText: 'applied, partial, failed, reverted, …' },
      { key: 'since', label: 'Begun since', type: 'string', helpText: 'A time such as 2026-01-31T12:00:00Z. The newest 200 runs are looked at.' },
    ],
  },
};
