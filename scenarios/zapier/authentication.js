'use strict';

const { get } = require('./lib/guard');

// The list of targets is the smallest answer that needs the key; what it opens is shown in the drop-down lists.
const test = async (z, bundle) => {
  const { targets } = await get(z, bundle, '/v1/targets');
  if (!targets.length) {
    throw new z.errors.Error('This key opens no target. Add one to its client in Guard\'s settings.', 'no_target', 403);
  }
  return { targets: targets.map((target) => target.id).join(', ') };
};

module.exports = {
  type: 'custom',
  test,
  connectionLabel: '{{bundle.authData.address}} ({{targets}})',
  fields: [
    {
      key: 'address',
      label: 'Address of Guard',
      type: 'string',
      required: true,
      placeholder: 'https://guard.example.com',
      helpText: 'What your revert links begin with. Whoever runs Guard knows it.',
    },
    {
      key: 'key',
      label: 'Client key',
      type: 'password',
      required: true,
      helpText: 'The key of a client in Guard\'s settings, best one for Zapier alone.',
    },
  ],
};
