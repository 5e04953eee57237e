// The OpenAI SDK for Node, told on standard input what to do; says as JSON what came of it.
// The one argument is the folder whose node_modules has it.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const { AzureOpenAI, APIError } = createRequire(`${process.argv[2]}/package.json`)("openai");
const task = JSON.parse(await text(process.stdin));

const client = (apiKey = task.key, endpoint = task.endpoint, options = {}) =>
  new AzureOpenAI({ endpoint, apiVersion: task.api_version, apiKey, ...options });

async function drawn() {
  const answer = await client().images.generate({
    model: "gpt-image-1", prompt: task.prompt, size: "1536x1024", quality: "hd",
  });
  return {
    b64_json: answer.data[0].b64_json,
    deployment: answer.extra_fields.deployment,
    total_tokens: answer.usage.total_tokens,
  };
}

async function streamed() {
  const stream = await client().images.generate({
    model: "gpt-image-1", prompt: task.prompt, stream: true, partial_images: 2,
  });
  const events = [];
  for await (const event of stream) events.push(event);
  const last = events.at(-1);
  return {
    events: events.map((event) => [event.type, event.partial_image_index ?? null]),
    b64_json: last.b64_json,
    total_tokens: last.usage.total_tokens,
  };
}

async function cut() {
  const events = [];
  try {
    const stream = await client().images.generate({
      model: task.cut, prompt: task.prompt, stream: true, partial_images: 2,
    });
    for await (const event of stream) events.push(event.type);
  } catch (error) {
    return { events, raises: error instanceof APIError ? error.constructor.name : null, code: error.code ?? null };
  }
  return { events, raises: null, code: null };
}

async function refused({ key, endpoint, deployment, n }, options = {}) {
  try {
    await client(key, endpoint, options).images.generate({ model: deployment, prompt: task.prompt, n });
  } catch (error) {
    return {
      raises: error.constructor.name,
      status: error.status,
      code: error.code,
      type: error.type,
      param: error.param ?? null,
      request_id: error.requestID,
    };
  }
  return { raises: null };
}

const all = {};
for (const [name, asked] of Object.entries(task.refused)) all[name] = await refused(asked, { maxRetries: 0 });
console.log(
  JSON.stringify({
    json: await drawn(),
    stream: await streamed(),
    cut: await cut(),
    lost: await refused({ ...task, deployment: task.lost, n: 1 }),
    refused: all,
  }),
);
