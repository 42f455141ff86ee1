'use strict';

const assert = require('node:assert');
const { test } = require('node:test');

const { recordsOf } = require('../lib/records');

class Refused extends Error {}
const z = { errors: { Error: Refused } };
const records = (inputData) => recordsOf(z, { inputData });

test('an empty cell leaves a field alone', () => {
  const given = { field_names: 'city, phone', records: [{ id: '1', field_0_city: 'Rome', field_1_phone: '' }, { id: '2' }] };
  assert.deepStrictEqual(records(given), [{ id: '1', fields: { city: 'Rome' } }, { id: '2' }]);
});

test('two fields whose names differ in signs only are two columns', () => {
  const given = { field_names: 'a.b, a_b', records: [{ id: '1', field_0_a_b: 'x', field_1_a_b: 'y' }] };
  assert.deepStrictEqual(records(given), [{ id: '1', fields: { 'a.b': 'x', a_b: 'y' } }]);
});

test('JSON text may be one record, and keeps numbers and null', () => {
  assert.deepStrictEqual(records({ records_json: '{"id": 7, "fields": {"n": 1.5, "x": null}}' }), [
    { id: 7, fields: { n: 1.5, x: null } },
  ]);
});

test('a line without anything in it is no record', () => {
  assert.throws(() => records({ records: [{ id: '' }] }), /There are no records/);
});
