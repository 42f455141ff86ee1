'use strict';

// Zapier ends an action after 30 s. Guard answers after 25 s at the latest, with status "running"; or the Zap waits
// for Guard's callback, if its builder wants that.

const { answerOf } = require('./answers');

const WAIT = 'wait';

const field = {
  key: 'when_long',
  label: 'When it takes longer than 25 seconds',
  type: 'string',
  default: 'go_on',
  choices: { go_on: 'Go on with status "running"', [WAIT]: 'Hold the Zap until it has ended' },
  helpText:
    'To hold the Zap, callbacks must be set up in Guard (its setting `callbacks.secret`). In the editor\'s test the ' +
    'step never holds.',
};

// Body and headers of a request whose end the Zap waits for, or not. In the editor nobody could wait.
const waiting = (z, bundle) => {
  const url = bundle.inputData.when_long === WAIT && !bundle.meta.isLoadingSample ? z.generateCallbackUrl() : '';
  return url ? { body: { callback_url: url }, headers: { Prefer: 'respond-async' } } : { body: {}, headers: {} };
};

// What came by the callback address: the same object that the answer would have been.
const performResume = (z, bundle) => {
  const told = { ...bundle.outputData, ...bundle.cleanedRequest };
  if (told.status === 'failed') {
    throw new z.errors.Error(told.problem || 'No record was written.', told.problem_code || 'operation_failed', 422);
  }
  return answerOf(told);
};

module.exports = { field, waiting, performResume };
