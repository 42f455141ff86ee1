'use strict';

const { NodeOperationError, sleep } = require('n8n-workflow');

const WAIT_S = 25; // Asked of Guard for each answer; below what proxies in between allow.
const ANSWER_TIMEOUT_S = WAIT_S + 35;
const ATTEMPTS_MAX = 4;
const POLL_PAUSES_S = [1, 2, 3, 5, 10]; // The last one again and again.
const GOES_ON = ['accepted', 'running', 'reverting'];

/** What went wrong, in Guard's own sentence; `problem` holds the rest of what it said. */
class GuardFailure extends Error {
  constructor(sentence, problem = {}) {
    super(sentence);
    this.problem = problem;
  }
}

/** Calls Guard for one execution of a node. Repeats only what Guard acts on once. */
class Guard {
  /**
   * @param context n8n's execute functions
   * @param baseUrl Guard's address
   * @param longestWaitS how long to wait for a run in all, in seconds
   */
  constructor(context, baseUrl, longestWaitS) {
    this.context = context;
    this.baseUrl = baseUrl.trim().replace(/\/+$/, '');
    this.deadline = Date.now() + longestWaitS * 1000;
    this.longestWaitS = longestWaitS;
  }

  /**
   * One request and Guard's answer to it. n8n's own retry asks for no pause, so pauses are kept here.
   * The caller sees to it that the request may be sent again: it reads, or carries an Idempotency-Key.
   */
  async call(method, path, { body, headers = {}, qs } = {}) {
    for (let attempt = 1; ; attempt++) {
      const reply = await this.send({ method, url: this.baseUrl + path, body, headers, qs });
      const pause = pauseBeforeRepeat(reply, attempt);
      if (pause === null || attempt === ATTEMPTS_MAX || Date.now() + pause * 1000 > this.deadline) {
        return this.understood(reply);
      }
      await this.pause(pause);
    }
  }

  async send(request) {
    const waitS = Math.max(1, Math.min(WAIT_S, Math.floor((this.deadline - Date.now()) / 1000)));
    const options = {
      ...request,
      headers: { ...request.headers, Prefer: `wait=${waitS}` },
      json: true,
      returnFullResponse: true,
      ignoreHttpStatusErrors: true,
      disableFollowRedirect: true,
      timeout: ANSWER_TIMEOUT_S * 1000,
      abortSignal: this.cancelled(),
    };
    try {
      return await this.context.helpers.httpRequestWithAuthentication.call(this.context, 'automationGuardApi', options);
    } catch (error) {
      if (this.cancelled()?.aborted) throw error;
      return { statusCode: 0, headers: {}, body: null, reason: error.message };
    }
  }

  understood(reply) {
    const told = isObject(reply.body) ? reply.body : null;
    if (told && reply.statusCode >= 200 && reply.statusCode < 300) return told;
    if (told && told.code) throw new GuardFailure(told.detail || told.title, told);
    if (reply.statusCode === 0) {
      throw new GuardFailure(
        `Guard does not answer at ${this.baseUrl} (${reply.reason}). Whether it got this request is not known; ` +
          'running this node again is safe, it does not act twice.',
      );
    }
    throw new GuardFailure(
      `What answers at ${this.baseUrl} with status ${reply.statusCode} is not Guard. Check the address in the credential.`,
    );
  }

  /** The run's or operation's last answer, once it has ended. A run that takes longer than the wait goes on all the same. */
  async ended(answer) {
    let told = answer;
    for (let round = 0; GOES_ON.includes(told.status); round++) {
      const pause = POLL_PAUSES_S[Math.min(round, POLL_PAUSES_S.length - 1)];
      if (Date.now() + pause * 1000 > this.deadline) throw this.stillGoing(told);
      await this.pause(pause);
      told = followUp(answer, await this.call('GET', `/v1/runs/${encodeURIComponent(answer.id)}`));
    }
    return told;
  }

  stillGoing(told) {
    const done = told.records_applied + told.records_failed;
    return new GuardFailure(
      `The run goes on in Guard after ${this.longestWaitS} seconds (${done} of ${told.records_total} records so far). ` +
        'Nothing is lost: look at run_url, or allow a longer wait in the options.',
      told,
    );
  }

  async pause(seconds) {
    await sleep(seconds * 1000);
    if (this.cancelled()?.aborted) throw new GuardFailure('The execution was stopped. What Guard has begun goes on.');
  }

  cancelled() {
    return this.context.getExecutionCancelSignal?.();
  }
}

/** Seconds to wait before the same request is sent again; null where its answer stands. */
function pauseBeforeRepeat(reply, attempt) {
  const isOurs = isObject(reply.body) && reply.body.code;
  const isTransient = isOurs ? [429, 503].includes(reply.statusCode) : [0, 429, 502, 503, 504].includes(reply.statusCode);
  if (!isTransient) return null;
  const asked = Number(reply.headers['retry-after']);
  return asked > 0 ? Math.min(asked, 60) : Math.min(2 ** (attempt - 1), 10);
}

/** How it is now with what `first` was answered for: one operation of a run, or the run (a revert is a run). */
function followUp(first, run) {
  if (first.kind === 'revert') return { ...first, ...run, status: revertStatus(run) };
  const operation = (run.operations || []).find((each) => each.operation === first.operation);
  return operation ? { ...first, ...operation, failures: run.failures } : { ...first, ...run };
}

/** A run of a revert is told as any run; who asked for the revert is to hear what became of it. */
function revertStatus(run) {
  if (GOES_ON.includes(run.status)) return 'reverting';
  const left = ['conflicted', 'irreversible', 'in_doubt', 'failed'].some((name) => run[`records_${name}`] > 0);
  return left || run.problem || run.status !== 'applied' ? 'partly_reverted' : 'reverted';
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** As n8n shows it: the sentence first, and below it what to look at. */
function shownError(context, error) {
  if (!(error instanceof GuardFailure)) return error;
  const { code, written, run_url, revert_url, record, failures } = error.problem;
  const lines = [
    code && `Code: ${code}`,
    written && `Written: ${written}`,
    run_url && `Run: ${run_url}`,
    revert_url && `Takes it back: ${revert_url}`,
    ...(failures || []).slice(0, 10).map((failure) => `${failure.id}: ${failure.message}`),
  ];
  const description = lines.filter(Boolean).join('\n');
  const itemIndex = Number.isInteger(record) ? record - 1 : undefined;
  return new NodeOperationError(context.getNode(), error.message, { description, itemIndex });
}

module.exports = { Guard, GuardFailure, shownError, isObject };
