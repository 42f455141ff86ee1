'use strict';

const { post } = require('../lib/guard');
const { answerOf } = require('../lib/answers');
const { target, resource, runKey, scenario, keyHeader, given } = require('../lib/fields');
const { inputs, recordsOf } = require('../lib/records');
const { field: whenLong, waiting, performResume } = require('../lib/waiting');
const { run: sample } = require('../lib/samples');

const perform = async (z, bundle) => {
  const input = bundle.inputData;
  const dry = Boolean(input.dry_run);
  const wait = dry ? { body: {}, headers: {} } : waiting(z, bundle);
  const body = given({
    target: input.target,
    resource: input.resource,
    action: input.action,
    records: recordsOf(z, bundle),
    accept_irreversible: input.accept_irreversible || undefined,
    dry_run: dry || undefined,
    scenario: input.scenario,
    note: input.note,
    ...wait.body,
  });
  return answerOf(await post(z, bundle, '/v1/operations', body, { ...wait.headers, ...keyHeader(bundle) }));
};

module.exports = {
  key: 'guarded_operation',
  noun: 'Run',
  display: {
    label: 'Run Guarded Bulk Operation',
    description: 'Writes many records after a snapshot of what they hold, and gives one link that takes it all back.',
  },
  operation: {
    perform,
    performResume,
    sample,
    inputFields: [
      target,
      resource,
      {
        key: 'action',
        label: 'Action',
        type: 'string',
        required: true,
        default: 'update',
        dynamic: 'action_list.id.name',
        altersDynamicFields: true,
      },
      {
        key: 'field_names',
        label: 'Fields to write',
        type: 'string',
        altersDynamicFields: true,
        helpText: 'The fields\' names as the target\'s API calls them, with commas between: `firstName, city`. Each becomes a column of Records.',
      },
      inputs,
      {
        key: 'records_json',
        label: 'Records as JSON',
        type: 'text',
        helpText: 'In place of Records, where numbers, lists or empty values (`null`) matter: `[{"id": "…", "fields": {"city": null}}]`.',
      },
      runKey,
      whenLong,
      {
        key: 'accept_irreversible',
        label: 'Do it although it cannot be taken back whole',
        type: 'boolean',
        default: 'false',
        helpText: 'Guard refuses such writes otherwise, and says what would be lost.',
      },
      {
        key: 'dry_run',
        label: 'Dry run',
        type: 'boolean',
        default: 'false',
        helpText: 'Yes: check the records and say what it would be; nothing is written. Good for the editor\'s test, which writes otherwise.',
      },
      scenario,
      { key: 'note', label: 'Note', type: 'string' },
    ],
  },
};
