'use strict';

const assert = require('node:assert');
const { test } = require('node:test');

const { answerOf } = require('../lib/answers');
const { performResume } = require('../lib/waiting');

test('a revert is called reverted only where nothing was left', () => {
  const revert = { kind: 'revert', status: 'applied', records_restored: 3 };
  assert.strictEqual(answerOf(revert).status, 'reverted');
  assert.strictEqual(answerOf({ ...revert, records_conflicted: 1 }).status, 'partly_reverted');
  assert.strictEqual(answerOf({ ...revert, status: 'running' }).status, 'reverting');
});

test('the sentence says what was not written', () => {
  const told = { kind: 'run', status: 'partial', records_total: 5, records_applied: 3, records_failed: 1, records_in_doubt: 1 };
  assert.strictEqual(answerOf(told).message, 'partial: 3 of 5 records were written, 1 were not, 1 are in doubt.');
});

test('a held Zap stops where nothing was written in the end', () => {
  class Refused extends Error {}
  const z = { errors: { Error: Refused } };
  const told = { kind: 'run', status: 'failed', problem: 'The target is full.' };
  assert.throws(() => performResume(z, { outputData: { id: 'run_1' }, cleanedRequest: told }), /The target is full/);
});
