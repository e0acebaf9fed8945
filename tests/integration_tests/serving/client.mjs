// The JavaScript client of OpenAI against a served pool: node client.mjs URL. Needs `npm install openai` beside it.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const openai = createRequire(`${process.cwd()}/`)("openai");
const client = new openai.OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What is 2 + 5?" }];
const add = {
  type: "function",
  function: {
    name: "add",
    description: "Add two numbers.",
    parameters: {
      type: "object",
      properties: { a: { type: "integer" }, b: { type: "integer" } },
      required: ["a", "b"],
    },
  },
};

const answer = await client.chat.completions.create({ model: "avengers", messages });
assert.match(answer.choices[0].message.content, /7/);
assert.equal(answer.avengers.model, "sums");

for (const model of ["avengers", "avengers:direct"]) {
  const stream = await client.chat.completions.create({
    model, messages, stream: true, stream_options: { include_usage: true },
  });
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.match(text, /7/);
  assert.ok(usage.total_tokens > 0);

  const called = await client.chat.completions
    .stream({ model, messages, tools: [add], tool_choice: "required" })
    .finalChatCompletion();
  const [call] = called.choices[0].message.tool_calls;
  assert.equal(call.function.name, "add");
  assert.equal(typeof JSON.parse(call.function.arguments).a, "number");
}

const several = await client.chat.completions.create({ model: "avengers:direct", messages, n: 2 });
assert.equal(several.choices.length, 2);

const names = [];
for await (const model of client.models.list()) names.push(model.id);
assert.ok(names.includes("avengers") && names.includes("sums"));

await assert.rejects(client.chat.completions.create({ model: "nobody", messages }), (error) => {
  assert.ok(error instanceof openai.NotFoundError);
  assert.equal(error.code, "model_not_found");
  return true;
});
await assert.rejects(client.chat.completions.create({ model: "avengers", messages: [] }), openai.BadRequestError);
console.log("all good");
