'use strict';

// Calls one function of the Zapier integration as Zapier's own runtime does: `{method, bundle, callback_url}` as JSON
// on stdin, `{results}` or `{error: {name, message}}` on stdout. The app is the folder that this is started in.

const path = require('node:path');
const { createAppHandler } = require(path.resolve('node_modules/zapier-platform-core'));

const main = async () => {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const { method, bundle, callback_url } = JSON.parse(Buffer.concat(chunks).toString());
  const event = { command: 'execute', method, bundle, callback_url };
  try {
    const answer = await createAppHandler(path.resolve('index.js'))(event);
    return { results: answer.results, status: answer.status };
  } catch (error) {
    // What Zapier's runtime adds to a message for its log is not what a user sees.
    return { error: { name: error.name, message: error.message.split('\nWhat happened:')[0] } };
  }
};

main().then((told) => process.stdout.write(`\n@@${JSON.stringify(told)}`));
