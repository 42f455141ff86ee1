'use strict';

const id = 'run_01m87azk9r0808pqq5vcv9qhhm';

const run = {
  id,
  kind: 'run',
  status: 'applied',
  message: 'applied: 2 of 2 records were written.',
  target: 'crm',
  resource: 'contacts',
  action: 'update',
  scenario: 'import',
  client: 'zapier',
  opened_at: '2026-11-24T17:52:12Z',
  records_total: 2,
  records_applied: 2,
  records_failed: 0,
  records_in_doubt: 0,
  reversible: 'full',
  revert_url: `https://guard.example.com/revert/${id}.6b2d5bcc.AXqqN5XG7xDlikopTU5CbLNSIzvqA7cT`,
  revert_expires_at: '2026-12-24T17:52:12Z',
  run_url: `https://guard.example.com/v1/runs/${id}`,
};

const revert = {
  id: 'run_bs1rb3d9883scwbhry4m8kjp2k',
  kind: 'revert',
  status: 'reverted',
  message: 'reverted: 2 records went back.',
  target: 'crm',
  reverts: id,
  records_restored: 2,
  records_already: 0,
  records_conflicted: 0,
  records_irreversible: 0,
  records_in_doubt: 0,
  records_failed: 0,
  revert_url: 'https://guard.example.com/revert/run_bs1rb3d9883scwbhry4m8kjp2k.6b2d5bcc.avg6hf68ruxMwJTw41TrMbbsmbQe-hHW',
  run_url: 'https://guard.example.com/v1/runs/run_bs1rb3d9883scwbhry4m8kjp2k',
};

module.exports = { run, revert };
