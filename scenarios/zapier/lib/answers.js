'use strict';

// Guard's answers are flat already. What is added: one sentence to map into a message, and a revert's status in the
// words that people use for it ("applied" is what its writes were).

const LEFT = ['records_conflicted', 'records_irreversible', 'records_in_doubt', 'records_failed'];

const statusOf = (told) => {
  if (told.kind !== 'revert' || told.status === 'running' || told.status === 'reverting') {
    return told.kind === 'revert' ? 'reverting' : told.status;
  }
  return LEFT.some((name) => told[name]) ? 'partly_reverted' : 'reverted';
};

const ofRun = (told, status) => {
  const parts = [`${told.records_applied} of ${told.records_total} records were written`];
  if (told.records_failed) parts.push(`${told.records_failed} were not`);
  if (told.records_in_doubt) parts.push(`${told.records_in_doubt} are in doubt`);
  return `${status}: ${parts.join(', ')}.`;
};

const ofRevert = (told, status) => {
  const parts = [`${told.records_restored || 0} records went back`];
  if (told.records_conflicted) parts.push(`${told.records_conflicted} were changed since and left alone`);
  if (told.records_irreversible) parts.push(`${told.records_irreversible} cannot be taken back`);
  if (told.records_failed) parts.push(`${told.records_failed} did not work`);
  return `${status}: ${parts.join(', ')}.`;
};

const sentenceOf = (told, status) => {
  if (status === 'dry_run') return 'dry_run: nothing was written.';
  if (status === 'running' || status === 'reverting') return `${status}: it goes on; look at ${told.run_url}.`;
  return told.kind === 'revert' ? ofRevert(told, status) : ofRun(told, status);
};

const answerOf = (told) => {
  const status = told.status === 'dry_run' ? 'dry_run' : statusOf(told);
  return { ...told, status, message: sentenceOf(told, status) };
};

module.exports = { answerOf };
