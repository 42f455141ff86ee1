'use strict';

const target = {
  key: 'target',
  label: 'Target',
  type: 'string',
  required: true,
  dynamic: 'target_list.id.name',
  altersDynamicFields: true,
  helpText: 'The system that is written to, by its name in Guard\'s settings.',
};

const resource = {
  key: 'resource',
  label: 'Object type',
  type: 'string',
  required: true,
  dynamic: 'resource_list.id.name',
  helpText: 'contacts, opportunities, …; for a database type the table\'s name, such as public.employees.',
};

const runKey = {
  key: 'run_key',
  label: 'Run key',
  type: 'string',
  helpText:
    'Map what tells this run of the Zap from all others: the ID of what triggered it. With it a replay of the Zap ' +
    'writes nothing twice, and all Guard steps of one run share one revert link. Zapier gives steps no such key by ' +
    'itself. **Do not map the current time**: a replay would get another one. Where one thing triggers the Zap again ' +
    'and again (an updated row), map its time of change behind its ID.',
};

const scenario = {
  key: 'scenario',
  label: 'Name in the history',
  type: 'string',
  helpText: 'For example the Zap\'s name; shown in Guard\'s list of runs.',
};

// Two Zaps may be triggered by things with the same ID.
const keyHeader = (bundle) => {
  const key = String(bundle.inputData.run_key || '').trim();
  const zap = bundle.meta && bundle.meta.zap && bundle.meta.zap.id;
  return key ? { 'Guard-Run-Key': zap ? `zap ${zap} ${key}` : key } : {};
};

const given = (members) =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined && value !== '' && value !== null));

const list = (value) =>
  (Array.isArray(value) ? value : String(value || '').split(','))
    .map((each) => String(each).trim())
    .filter(Boolean);

module.exports = { target, resource, runKey, scenario, keyHeader, given, list };
