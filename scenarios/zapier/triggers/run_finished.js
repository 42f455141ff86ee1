'use strict';

const { ask, get, post } = require('../lib/guard');
const { answerOf } = require('../lib/answers');
const { given, target } = require('../lib/fields');
const { run: sample } = require('../lib/samples');

const ENDS = {
  applied: 'Applied',
  partial: 'Partial',
  failed: 'Failed',
  stopped: 'Stopped',
  reverted: 'Reverted',
  partly_reverted: 'Partly reverted',
};

const performSubscribe = (z, bundle) => {
  const { target: name, scenario, statuses } = bundle.inputData;
  return post(z, bundle, '/v1/subscriptions', given({ hook_url: bundle.targetUrl, target: name, scenario, statuses }));
};

// One that Guard has ended itself, since it was answered 410, is over all the same.
const performUnsubscribe = (z, bundle) => ask(z, bundle, 'DELETE', `/v1/subscriptions/${bundle.subscribeData.id}`);

const perform = (z, bundle) => [answerOf(bundle.cleanedRequest)];

const performList = async (z, bundle) => {
  const { runs } = await get(z, bundle, '/v1/runs', given({ limit: 3, target: bundle.inputData.target }));
  return runs.map(answerOf);
};

module.exports = {
  key: 'run_finished',
  noun: 'Run',
  display: {
    label: 'Run Finished',
    description: 'Triggers when a guarded operation or a revert has ended, whoever began it.',
  },
  operation: {
    type: 'hook',
    performSubscribe,
    performUnsubscribe,
    perform,
    performList,
    sample,
    inputFields: [
      { ...target, required: false, altersDynamicFields: false, helpText: 'Only runs on this target; empty: on all that the key opens.' },
      { key: 'scenario', label: 'Name in the history', type: 'string', helpText: 'Only runs begun under this name.' },
      { key: 'statuses', label: 'Only these ends', type: 'string', list: true, choices: ENDS, helpText: 'Empty: all. Choose Partial and Failed to be told of trouble only.' },
    ],
  },
};
