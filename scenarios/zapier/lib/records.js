'use strict';

// Records come as line items whose columns the user names, or as JSON text where types matter.

const { list } = require('./fields');

const columnKey = (name, n) => `field_${n}_${name.replace(/\W/g, '_')}`;

const columns = (bundle) => list(bundle.inputData.field_names).map((name, n) => ({ name, key: columnKey(name, n) }));

const isVerb = (action) => String(action || '').includes('.');

const inputs = (z, bundle) => {
  const { action } = bundle.inputData;
  const fields = isVerb(action) || action === 'delete' ? [] : columns(bundle);
  const tags = String(action).startsWith('tags.') ? [{ key: 'tags', label: 'Tags', type: 'string' }] : [];
  return [
    {
      key: 'records',
      label: 'Records',
      children: [
        ...(action === 'create' ? [] : [{ key: 'id', label: 'Record ID', type: 'string' }]),
        ...fields.map(({ name, key }) => ({ key, label: name, type: 'string' })),
        ...tags,
        ...(action === 'create' && !fields.length ? [{ key: 'none', label: 'Name the fields first', type: 'string' }] : []),
      ],
    },
  ];
};

const fromLine = (line, bundle) => {
  const record = {};
  if (line.id) record.id = line.id;
  // Zapier sends nothing, or an empty text, where a cell is empty: that leaves the field alone. JSON text can clear one.
  const filled = columns(bundle).filter(({ key }) => line[key] !== undefined && line[key] !== '');
  if (filled.length) record.fields = Object.fromEntries(filled.map(({ name, key }) => [name, line[key]]));
  if (line.tags) record.tags = list(line.tags);
  return record;
};

const parsed = (z, text) => {
  let found;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new z.errors.Error(`"Records as JSON" is not JSON (${error.message}). Nothing was written.`, 'invalid_body', 400);
  }
  return Array.isArray(found) ? found : [found];
};

const recordsOf = (z, bundle) => {
  const { records_json: text, records: lines } = bundle.inputData;
  const filled = (lines || []).filter((line) => Object.values(line).some((value) => value !== ''));
  if (Boolean(text) === Boolean(filled.length)) {
    const why = text ? 'Fill in Records or "Records as JSON", not both.' : 'There are no records.';
    throw new z.errors.Error(`${why} Nothing was written.`, 'invalid_request', 400);
  }
  return text ? parsed(z, text) : filled.map((line) => fromLine(line, bundle));
};

module.exports = { inputs, recordsOf };
