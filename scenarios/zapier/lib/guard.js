'use strict';

// All that is sent goes to the address of the connection, and to no other: a link that somebody maps into a field
// names a run, never a place to send the key to.

const RUN = /run_[0-9a-hjkmnp-tv-z]{26}/;
const TOKEN = /\/revert\/([A-Za-z0-9._~-]+)/;

const base = (bundle) => String(bundle.authData.address || '').trim().replace(/\/+$/, '');

// As a beforeRequest of the app it would follow a request to anywhere, so it looks where that one goes.
const withKey = (request, z, bundle) => {
  if (bundle.authData && request.url.startsWith(`${base(bundle)}/`)) {
    request.headers = { ...request.headers, 'Guard-Key': bundle.authData.key };
  }
  return request;
};

const ask = async (z, bundle, method, path, { body, headers, params } = {}) => {
  const response = await z.request({
    method,
    url: `${base(bundle)}${path}`,
    params,
    headers: { Accept: 'application/json', ...headers },
    ...(body === undefined ? {} : { body }),
    // Guard sends no redirects; one that comes is another server's.
    redirect: 'manual',
  });
  if (!response.data || typeof response.data !== 'object') {
    const detail = 'There is something else than Guard at this address. Check the address of the connection.';
    throw new z.errors.Error(detail, 'not_guard', response.status);
  }
  return response.data;
};

const get = (z, bundle, path, params) => ask(z, bundle, 'GET', path, { params });
const post = (z, bundle, path, body, headers) => ask(z, bundle, 'POST', path, { body, headers });

// A run id, or any link of Guard's that names one.
const runIn = (z, text) => {
  const found = RUN.exec(String(text || ''));
  if (!found) {
    throw new z.errors.Error('Map the run\'s ID or its revert link from an earlier step.', 'no_run', 400);
  }
  return found[0];
};

// The address that takes a run back, on the connection's own address.
const revertPath = async (z, bundle, text) => {
  const token = TOKEN.exec(String(text || ''));
  if (token) {
    return `/revert/${token[1]}`;
  }
  const run = await get(z, bundle, `/v1/runs/${runIn(z, text)}`);
  return `/revert/${TOKEN.exec(run.revert_url)[1]}`;
};

module.exports = { withKey, ask, get, post, runIn, revertPath };
