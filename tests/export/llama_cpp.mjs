// What llama.cpp makes of prompts: their tokens, and those that it writes greedily.
// Reads {"model": path, "prompts": [text, ...], "newTokens": number} and prints [{"prompt": ids, "written": ids}, ...].
import {createRequire} from "node:module";
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const folder = createRequire(process.argv[2] + "/");
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(folder.resolve("node-llama-cpp")).href);
const job = JSON.parse(readFileSync(0, "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1});
const model = await llama.loadModel({modelPath: job.model});
// By default keys and values are kept in half precision.
const kinds = {experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"};
const context = await model.createContext({contextSize: job.contextSize, flashAttention: false, ...kinds});
const found = [];
for (const prompt of job.prompts) {
    const sequence = context.getSequence();
    const ids = model.tokenize(prompt);
    const written = [];
    for await (const token of sequence.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
        written.push(token);
        if (written.length === job.newTokens) break;
    }
    found.push({prompt: ids, written});
    sequence.dispose();
}
console.log(JSON.stringify(found));
process.exit(0);
