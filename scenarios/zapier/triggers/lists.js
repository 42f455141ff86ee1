'use strict';

// Not shown to users: what fills the drop-down lists. Where Guard cannot list (tables of a database) the list is empty,
// and a value is typed ("Custom").

const { get } = require('../lib/guard');

const named = (names) => names.map((name) => ({ id: name, name }));

const chosen = async (z, bundle) => {
  const { targets } = await get(z, bundle, '/v1/targets');
  return targets.filter((target) => !bundle.inputData.target || target.id === bundle.inputData.target);
};

const each = (member) => async (z, bundle) =>
  named([...new Set((await chosen(z, bundle)).flatMap((target) => target[member]))]);

const hidden = (key, noun, perform) => ({
  key,
  noun,
  display: { label: `List of ${noun}s`, description: `Fills the list of ${noun.toLowerCase()}s.`, hidden: true },
  operation: { perform, sample: { id: 'x', name: 'x' } },
});

module.exports = [
  hidden('target_list', 'Target', async (z, bundle) =>
    (await get(z, bundle, '/v1/targets')).targets.map(({ id, handler }) => ({ id, name: `${id} (${handler})` })),
  ),
  hidden('resource_list', 'Object type', each('resources')),
  hidden('action_list', 'Action', each('actions')),
];
