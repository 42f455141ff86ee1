'use strict';

const { GuardFailure, isObject } = require('./guard');

const WITH_FIELDS = ['create', 'update', 'upsert'];
const ID_NEEDED = ['update', 'delete', 'tags.add', 'tags.remove'];

/** One record for each item, in the items' order, so that Guard's record number is the item's. */
function recordsOf(context, items, action) {
  return items.map((item, index) => {
    const record = recordId(context, item, index, action);
    if (action === 'delete') return record;
    if (action.startsWith('tags.')) return { ...record, tags: listOf(context.getNodeParameter('tags', index)) };
    const fields = fieldsOf(context, item, index);
    return WITH_FIELDS.includes(action) ? { ...record, fields } : { ...record, ...fields };
  });
}

function recordId(context, item, index, action) {
  if (action === 'create') return {};
  const name = context.getNodeParameter('idField', index);
  const id = item.json[name];
  const isThere = id !== undefined && id !== null && id !== '';
  if (!isThere && ID_NEEDED.includes(action)) {
    throw new GuardFailure(`Item ${index + 1} has no "${name}", so Guard cannot tell which record it means. Nothing was written.`, {
      record: index + 1,
    });
  }
  return isThere ? { id: String(id) } : {};
}

function fieldsOf(context, item, index) {
  const from = context.getNodeParameter('fieldsFrom', index);
  if (from === 'below') {
    const { values = [] } = context.getNodeParameter('fields', index, {});
    return Object.fromEntries(values.map(({ name, value }) => [name, value]));
  }
  if (from === 'named') {
    const names = listOf(context.getNodeParameter('fieldNames', index));
    return Object.fromEntries(names.filter((name) => name in item.json).map((name) => [name, item.json[name]]));
  }
  const fields = { ...item.json };
  delete fields[context.getNodeParameter('idField', index, 'id')];
  return fields;
}

/** Names with commas between them, or a list already. */
function listOf(value) {
  if (Array.isArray(value)) return value.map(String);
  return String(value ?? '').split(',').map((part) => part.trim()).filter(Boolean);
}

/** What a JSON field of the node holds; n8n hands over text, or an object where an expression made one. */
function objectOf(value, name) {
  let found = value;
  try {
    if (typeof value === 'string') found = JSON.parse(value);
  } catch {
    found = null;
  }
  if (!isObject(found)) throw new GuardFailure(`${name} is not a JSON object. Nothing was sent.`);
  return found;
}

module.exports = { recordsOf, listOf, objectOf };
