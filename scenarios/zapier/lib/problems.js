'use strict';

// Guard's errors are problem details (RFC 9457). Zapier shows people one sentence; `detail` is written for them.

const AGAIN = new Set([429, 503]);
const PAUSE_S = 30;

const sentence = (problem) => {
  const failures = (problem.failures || []).slice(0, 3).map(({ id, message }) => `${id || 'new record'}: ${message}`);
  const back = problem.revert_url ? `Take it back: ${problem.revert_url}` : '';
  return [problem.detail, ...failures, back].filter(Boolean).join(' ');
};

// Nothing was written with 429 and 503, so Zapier may hold the step and send it again by itself.
const refuseProblems = (response, z) => {
  const { status } = response;
  if (status < 300) {
    return response;
  }
  const problem = response.data && response.data.detail ? response.data : { detail: `The answer was ${status}.` };
  const text = sentence(problem);
  if (status === 401) {
    throw new z.errors.ExpiredAuthError(text);
  }
  if (AGAIN.has(status)) {
    throw new z.errors.ThrottledError(text, Number(response.getHeader('retry-after')) || PAUSE_S);
  }
  throw new z.errors.Error(text, problem.code, status);
};

module.exports = { refuseProblems };
