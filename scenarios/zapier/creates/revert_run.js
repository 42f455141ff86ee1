'use strict';

const { post, revertPath } = require('../lib/guard');
const { answerOf } = require('../lib/answers');
const { given, list } = require('../lib/fields');
const { field: whenLong, waiting, performResume } = require('../lib/waiting');
const { revert: sample } = require('../lib/samples');

const some = (value) => (list(value).length ? list(value) : undefined);

const perform = async (z, bundle) => {
  const input = bundle.inputData;
  const dry = Boolean(input.dry_run);
  const wait = dry ? { body: {}, headers: {} } : waiting(z, bundle);
  const body = given({
    on_conflict: input.on_conflict,
    dry_run: dry || undefined,
    ids: some(input.ids),
    fields: some(input.fields),
    ...wait.body,
  });
  return answerOf(await post(z, bundle, await revertPath(z, bundle, input.run), body, wait.headers));
};

module.exports = {
  key: 'revert_run',
  noun: 'Revert',
  display: {
    label: 'Revert Run',
    description: 'Takes a run back: what it changed and nobody has changed since.',
  },
  operation: {
    perform,
    performResume,
    sample,
    inputFields: [
      {
        key: 'run',
        label: 'Run',
        type: 'string',
        required: true,
        helpText: 'Map the revert link or the ID of the run from an earlier step or from the trigger.',
      },
      {
        key: 'on_conflict',
        label: 'What others changed since',
        type: 'string',
        default: 'skip',
        choices: {
          skip: 'Leave it alone, take the rest back',
          abort: 'Take nothing back if there is any',
          force: 'Overwrite it',
        },
      },
      { key: 'ids', label: 'Only these records', type: 'string', list: true, helpText: 'IDs; empty: all of the run.' },
      { key: 'fields', label: 'Only these fields', type: 'string', list: true },
      { key: 'dry_run', label: 'Dry run', type: 'boolean', default: 'false', helpText: 'Yes: only say what would go back.' },
      whenLong,
    ],
  },
};
