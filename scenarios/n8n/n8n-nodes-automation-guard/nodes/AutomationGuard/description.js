'use strict';

const WRITES = ['bulk', 'checkpoint'];

/** The property, shown only for these operations, and where further parameters have these values. */
function shown(operations, property, more = {}) {
  return { ...property, displayOptions: { show: { operation: operations, ...more } } };
}

const operation = {
  displayName: 'Operation',
  name: 'operation',
  type: 'options',
  noDataExpression: true,
  default: 'bulk',
  options: [
    {
      name: 'Run Guarded Bulk Operation',
      value: 'bulk',
      action: 'Run a guarded bulk operation',
      description: 'Snapshots the records of all items, then writes them, all in one operation',
    },
    {
      name: 'Checkpoint',
      value: 'checkpoint',
      action: 'Take a checkpoint',
      description: 'Snapshots records that the nodes after this one will change by themselves',
    },
    {
      name: 'Seal',
      value: 'seal',
      action: 'Seal a checkpoint',
      description: 'Notes what those nodes have changed, so that it can be taken back',
    },
    { name: 'Revert Run', value: 'revert', action: 'Revert a run', description: 'Takes a run back' },
    { name: 'Get Run', value: 'getRun', action: 'Get a run', description: 'How a run stands, with its revert URL' },
    { name: 'Find Runs', value: 'findRuns', action: 'Find runs', description: 'The latest runs, newest first' },
  ],
};

const what = [
  shown(WRITES, {
    displayName: 'Target',
    name: 'target',
    type: 'string',
    default: '',
    required: true,
    placeholder: 'crm',
    description: "The target's name in Guard's settings",
  }),
  shown(WRITES, {
    displayName: 'Record Type',
    name: 'recordType',
    type: 'string',
    default: '',
    required: true,
    placeholder: 'contacts',
    description: "Guard's word is resource: contacts, opportunities; for a database the table",
  }),
];

const action = [
  shown(['bulk'], {
    displayName: 'Action',
    name: 'action',
    type: 'options',
    noDataExpression: true,
    default: 'update',
    options: [
      { name: 'Update', value: 'update' },
      { name: 'Create', value: 'create' },
      { name: 'Create or Update', value: 'upsert' },
      { name: 'Delete', value: 'delete' },
      { name: 'Add Tags', value: 'tags.add' },
      { name: 'Remove Tags', value: 'tags.remove' },
      { name: 'Other', value: 'other', description: 'One that the page of your system in the docs names' },
    ],
  }),
  shown(
    ['bulk'],
    { displayName: 'Name of the Action', name: 'otherAction', type: 'string', default: '', required: true },
    { action: ['other'] },
  ),
];

const records = [
  shown(
    ['checkpoint'],
    {
      displayName: 'Which Records',
      name: 'watch',
      type: 'options',
      default: 'items',
      options: [
        { name: 'Those of the Items', value: 'items' },
        { name: 'Those That a Filter Finds', value: 'filter' },
      ],
    },
  ),
  shown(
    ['bulk'],
    {
      displayName: 'Field With the ID',
      name: 'idField',
      type: 'string',
      default: 'id',
      required: true,
      description: "The item's field that holds the record's id",
    },
    { action: ['update', 'upsert', 'delete', 'tags.add', 'tags.remove', 'other'] },
  ),
  shown(
    ['checkpoint'],
    { displayName: 'Field With the ID', name: 'idField', type: 'string', default: 'id', required: true },
    { watch: ['items'] },
  ),
  shown(
    ['checkpoint'],
    {
      displayName: 'Filter',
      name: 'filter',
      type: 'json',
      default: '{}',
      description: "A JSON object, as the page of your system in Guard's docs has it",
    },
    { watch: ['filter'] },
  ),
  shown(
    ['checkpoint'],
    {
      displayName: 'At Most',
      name: 'recordsMax',
      type: 'number',
      default: 1000,
      typeOptions: { minValue: 1 },
      description: 'Where the filter finds more records than this, nothing is begun',
    },
    { watch: ['filter'] },
  ),
];

const WITH_FIELDS = { action: ['update', 'create', 'upsert', 'other'] };

const fields = [
  shown(
    ['bulk'],
    {
      displayName: 'Fields to Write',
      name: 'fieldsFrom',
      type: 'options',
      default: 'all',
      options: [
        { name: 'All Fields of the Item but the ID', value: 'all' },
        { name: 'Some Fields of the Item', value: 'named' },
        { name: 'Fields Set Below', value: 'below' },
      ],
      description: "Names and values are the target's own. A name that it does not know stops the operation before it writes",
    },
    WITH_FIELDS,
  ),
  shown(
    ['bulk'],
    {
      displayName: 'Names of the Fields',
      name: 'fieldNames',
      type: 'string',
      default: '',
      placeholder: 'city, jobTitle',
      description: 'With commas between them. A field that an item does not have is not written for it',
    },
    { ...WITH_FIELDS, fieldsFrom: ['named'] },
  ),
  shown(
    ['bulk'],
    {
      displayName: 'Fields',
      name: 'fields',
      type: 'fixedCollection',
      typeOptions: { multipleValues: true },
      placeholder: 'Add Field',
      default: {},
      options: [
        {
          name: 'values',
          displayName: 'Field',
          values: [
            { displayName: 'Name', name: 'name', type: 'string', default: '' },
            { displayName: 'Value', name: 'value', type: 'string', default: '' },
          ],
        },
      ],
    },
    { ...WITH_FIELDS, fieldsFrom: ['below'] },
  ),
  shown(
    ['bulk'],
    { displayName: 'Tags', name: 'tags', type: 'string', default: '', description: 'With commas between them' },
    { action: ['tags.add', 'tags.remove'] },
  ),
];

const BY_ID = { name: 'By Its ID or Run URL', value: 'id' };

const runs = [
  shown(['seal', 'getRun'], {
    displayName: 'Which Run',
    name: 'runBy',
    type: 'options',
    default: 'execution',
    options: [{ name: "This Execution's", value: 'execution' }, BY_ID],
  }),
  shown(['seal', 'getRun'], { displayName: 'Run', name: 'run', type: 'string', default: '' }, { runBy: ['id'] }),
  shown(['revert'], {
    displayName: 'Which Run',
    name: 'revertBy',
    type: 'options',
    default: 'url',
    options: [{ name: 'By Its Revert URL', value: 'url' }, BY_ID, { name: 'That of an Execution', value: 'execution' }],
  }),
  shown(
    ['revert'],
    { displayName: 'Revert URL', name: 'revertUrl', type: 'string', default: '={{ $json.revert_url }}' },
    { revertBy: ['url'] },
  ),
  shown(['revert'], { displayName: 'Run', name: 'run', type: 'string', default: '' }, { revertBy: ['id'] }),
  shown(
    ['revert'],
    {
      displayName: 'Execution',
      name: 'execution',
      type: 'string',
      default: '={{ $json.workflow.id }}-{{ $json.execution.id }}',
      description: 'Workflow id and execution id, as an Error Trigger gives them. Empty: this execution',
    },
    { revertBy: ['execution'] },
  ),
  shown(['findRuns'], {
    displayName: 'Limit',
    name: 'limit',
    type: 'number',
    default: 50,
    typeOptions: { minValue: 1, maxValue: 1000 },
    description: 'Max number of results to return',
  }),
  shown(['findRuns'], {
    displayName: 'Filters',
    name: 'filters',
    type: 'collection',
    placeholder: 'Add Filter',
    default: {},
    options: [
      { displayName: 'Target', name: 'target', type: 'string', default: '' },
      { displayName: 'Since', name: 'since', type: 'dateTime', default: '' },
      { displayName: 'Until', name: 'until', type: 'dateTime', default: '' },
      { displayName: 'Run Key', name: 'runKey', type: 'string', default: '' },
    ],
  }),
];

const output = shown(['checkpoint'], {
  displayName: 'What Goes On',
  name: 'output',
  type: 'options',
  default: 'items',
  options: [
    { name: 'The Items as They Came', value: 'items', description: 'So that the nodes after this one can write them' },
    { name: "Guard's Answer", value: 'answer' },
  ],
});

const SCENARIO = { displayName: 'Scenario', name: 'scenario', type: 'string', default: '', description: "A name for Guard's history. The workflow's name where this is empty" };
const NOTE = { displayName: 'Note', name: 'note', type: 'string', default: '', description: "A note for Guard's history" };
const RUN_KEY = {
  displayName: 'Run Key',
  name: 'runKey',
  type: 'string',
  default: '',
  description: 'What puts several writes into one run, with one revert URL. Workflow id and execution id where this is empty',
};
const DRY_RUN = { displayName: 'Dry Run', name: 'dryRun', type: 'boolean', default: false, description: 'Whether to tell only what would happen, and write nothing' };

const options = [
  shown(['bulk'], {
    displayName: 'Options',
    name: 'options',
    type: 'collection',
    placeholder: 'Add Option',
    default: {},
    options: [
      {
        displayName: 'Accept What Cannot Be Taken Back',
        name: 'acceptIrreversible',
        type: 'boolean',
        default: false,
        description: 'Whether to write also what a revert cannot restore whole, such as deletions. Read first what is lost',
      },
      DRY_RUN,
      NOTE,
      RUN_KEY,
      SCENARIO,
    ],
  }),
  shown(['checkpoint'], {
    displayName: 'Options',
    name: 'options',
    type: 'collection',
    placeholder: 'Add Option',
    default: {},
    options: [NOTE, RUN_KEY, SCENARIO],
  }),
  shown(['revert'], {
    displayName: 'Options',
    name: 'revertOptions',
    type: 'collection',
    placeholder: 'Add Option',
    default: {},
    options: [
      DRY_RUN,
      {
        displayName: 'If Somebody Changed a Record Since',
        name: 'onConflict',
        type: 'options',
        default: 'skip',
        options: [
          { name: 'Leave That Change Alone', value: 'skip' },
          { name: 'Overwrite It', value: 'force' },
          { name: 'Take Nothing Back', value: 'abort' },
        ],
      },
      { displayName: 'Only These Fields', name: 'fields', type: 'string', default: '', description: 'With commas between them' },
      { displayName: 'Only These IDs', name: 'ids', type: 'string', default: '', description: 'With commas between them' },
    ],
  }),
  shown(['bulk', 'seal', 'revert'], {
    displayName: 'Longest Wait in Minutes',
    name: 'longestWaitMinutes',
    type: 'number',
    default: 30,
    typeOptions: { minValue: 0.1 },
    description: 'How long this node waits for a run to end. Guard goes on after that all the same',
  }),
];

const description = {
  displayName: 'Automation Guard',
  name: 'automationGuard',
  icon: 'file:guard.svg',
  group: ['transform'],
  version: 1,
  subtitle: '={{ $parameter["operation"] }}',
  description: 'An undo button: snapshots before bulk writes, and one step that takes a run back',
  defaults: { name: 'Automation Guard' },
  inputs: ['main'],
  outputs: ['main'],
  credentials: [{ name: 'automationGuardApi', required: true }],
  properties: [operation, ...what, ...action, ...records, ...fields, ...runs, output, ...options],
};

module.exports = { description };
