'use strict';

const { post } = require('../lib/guard');
const { answerOf } = require('../lib/answers');
const { target, resource, runKey, scenario, keyHeader, given, list } = require('../lib/fields');
const { run } = require('../lib/samples');

const perform = async (z, bundle) => {
  const input = bundle.inputData;
  const ids = list(input.ids);
  if (!ids.length) {
    throw new z.errors.Error('Name the records that the next steps will change. Nothing was written.', 'invalid_request', 400);
  }
  const body = given({ target: input.target, resource: input.resource, ids, scenario: input.scenario, note: input.note });
  const told = await post(z, bundle, '/v1/checkpoints', body, keyHeader(bundle));
  return { ...answerOf(told), message: 'The records are kept. Seal the run after the steps that change them.' };
};

module.exports = {
  key: 'checkpoint',
  noun: 'Checkpoint',
  display: {
    label: 'Checkpoint',
    description: 'Keeps what records hold before other steps of this Zap change them, so that those can be taken back.',
  },
  operation: {
    perform,
    sample: { ...run, status: 'running', seal_url: `${run.run_url}/seal` },
    inputFields: [
      target,
      resource,
      {
        key: 'ids',
        label: 'Record IDs',
        type: 'string',
        list: true,
        required: true,
        helpText: 'The IDs of all records that the next steps may change.',
      },
      runKey,
      scenario,
      { key: 'note', label: 'Note', type: 'string' },
    ],
  },
};
