'use strict';

const { GuardFailure } = require('./guard');
const { recordsOf, listOf, objectOf } = require('./records');

// Each takes n8n's execute functions, Guard and all items, and gives the items that go on.
const OPERATIONS = { bulk, checkpoint, seal, revert, getRun, findRuns };

async function bulk(context, guard, items) {
  const options = context.getNodeParameter('options', 0, {});
  const chosen = context.getNodeParameter('action', 0);
  const action = chosen === 'other' ? context.getNodeParameter('otherAction', 0) : chosen;
  const body = {
    ...whatFor(context, options),
    action,
    records: recordsOf(context, items, action),
    ...(options.acceptIrreversible && { accept_irreversible: true }),
    ...(options.dryRun && { dry_run: true }),
  };
  const begun = await guard.call('POST', '/v1/operations', { body, headers: keys(context, options) });
  const answer = await guard.ended(begun);
  if (answer.status === 'failed' && !answer.records_in_doubt) {
    throw new GuardFailure(answer.problem || "No record was written. Each one's reason stands in failures.", answer);
  }
  return [one(answer, items)];
}

async function checkpoint(context, guard, items) {
  const options = context.getNodeParameter('options', 0, {});
  const body = { ...whatFor(context, options), ...watched(context, items) };
  const answer = await guard.call('POST', '/v1/checkpoints', { body, headers: keys(context, options) });
  if (context.getNodeParameter('output', 0) === 'answer') return [one(answer, items)];
  return items.map((item, index) => ({ ...item, pairedItem: { item: index } }));
}

function watched(context, items) {
  if (context.getNodeParameter('watch', 0) === 'filter') {
    const filter = objectOf(context.getNodeParameter('filter', 0), 'Filter');
    return { filter, records_max: context.getNodeParameter('recordsMax', 0) };
  }
  const name = (index) => context.getNodeParameter('idField', index);
  const ids = items.map((item, index) => item.json[name(index)]);
  const missing = ids.findIndex((id) => id === undefined || id === null || id === '');
  if (missing >= 0) {
    throw new GuardFailure(`Item ${missing + 1} has no "${name(missing)}". Nothing was written.`, { record: missing + 1 });
  }
  return { ids: [...new Set(ids.map(String))] };
}

async function seal(context, guard, items) {
  const run = await theRun(context, guard, 0);
  if (!run) throw new GuardFailure('This execution has no run in Guard. Is there a Checkpoint before this node?');
  const answer = await guard.call('POST', `/v1/runs/${encodeURIComponent(run.id)}/seal`);
  return [one(await guard.ended(answer), items)];
}

async function getRun(context, guard, items) {
  const run = await theRun(context, guard, 0);
  if (!run) throw new GuardFailure('This execution has no run in Guard. Nothing was written through it.');
  return [one(await guard.call('GET', `/v1/runs/${encodeURIComponent(run.id)}`), items)];
}

async function findRuns(context, guard, items) {
  const filters = context.getNodeParameter('filters', 0, {});
  const qs = { limit: context.getNodeParameter('limit', 0) };
  for (const [name, member] of [['target', 'target'], ['since', 'since'], ['until', 'until'], ['runKey', 'run_key']]) {
    if (filters[name]) qs[member] = filters[name];
  }
  const { runs } = await guard.call('GET', '/v1/runs', { qs });
  return runs.map((run) => one(run, items));
}

/** Each run that the items name is taken back once, however many of them name it. */
async function revert(context, guard, items) {
  const named = new Map();
  for (let index = 0; index < items.length; index++) {
    const path = await revertPath(context, guard, index);
    const body = revertBody(context.getNodeParameter('revertOptions', index, {}));
    const what = JSON.stringify([path, body]);
    if (!named.has(what)) named.set(what, { path, body, indexes: [] });
    named.get(what).indexes.push(index);
  }
  const done = [];
  for (const { path, body, indexes } of named.values()) {
    const answer = path ? await guard.ended(await guard.call('POST', path, { body })) : NOTHING_THERE;
    done.push({ json: answer, pairedItem: indexes.map((item) => ({ item })) });
  }
  return done;
}

const NOTHING_THERE = {
  status: 'nothing_to_take_back',
  detail: 'The execution wrote nothing through Guard, so there is nothing to take back.',
};

/** The path of the revert URL; always on the credential's Guard, whatever host the URL names. */
async function revertPath(context, guard, index) {
  if (context.getNodeParameter('revertBy', index) === 'url') {
    const url = String(context.getNodeParameter('revertUrl', index));
    const found = /\/revert\/([A-Za-z0-9._~-]+)\/?(?:[?#].*)?$/.exec(url.trim());
    if (!found) throw new GuardFailure('This is no revert URL of Guard. Nothing was taken back.', { record: index + 1 });
    return `/revert/${found[1]}`;
  }
  const run = await theRun(context, guard, index, 'revertBy');
  return run && new URL(run.revert_url).pathname;
}

function revertBody(options) {
  return {
    ...(options.onConflict && { on_conflict: options.onConflict }),
    ...(options.dryRun && { dry_run: true }),
    ...(options.ids && { ids: listOf(options.ids) }),
    ...(options.fields && { fields: listOf(options.fields) }),
  };
}

/** The run that a parameter names: by its id or run URL, or as the one of an execution; null where that has none. */
async function theRun(context, guard, index, parameter = 'runBy') {
  if (context.getNodeParameter(parameter, index) === 'id') {
    const found = /run_[0-9a-z]{26}/.exec(String(context.getNodeParameter('run', index)));
    if (!found) throw new GuardFailure('This is neither the id of a run nor its URL.', { record: index + 1 });
    return guard.call('GET', `/v1/runs/${found[0]}`);
  }
  const key = context.getNodeParameter('execution', index, '') || executionKey(context);
  const { runs } = await guard.call('GET', '/v1/runs', { qs: { run_key: key } });
  return runs[0] || null;
}

function whatFor(context, options) {
  return {
    target: context.getNodeParameter('target', 0),
    resource: context.getNodeParameter('recordType', 0),
    scenario: options.scenario || context.getWorkflow().name || '',
    ...(options.note && { note: options.note }),
  };
}

/** What puts all writes of an execution into one run, and what tells a repeat of this node from a second one. */
function keys(context, options) {
  const run = options.runKey || executionKey(context);
  const { $runIndex } = context.getWorkflowDataProxy(0);
  return { 'Guard-Run-Key': run, 'Idempotency-Key': `${run} ${context.getNode().id} ${$runIndex}` };
}

function executionKey(context) {
  return `${context.getWorkflow().id}-${context.getExecutionId()}`;
}

function one(answer, items) {
  return { json: answer, pairedItem: items.map((_, item) => ({ item })) };
}

module.exports = { OPERATIONS };
