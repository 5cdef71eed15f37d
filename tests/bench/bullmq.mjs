// bullmq.mjs SOCKET: the same figures of BullMQ in the Redis on that socket: no-op jobs with data as long as two of our URLs, one worker
// with one job at a time. Prints "name value" lines. Run where bullmq and ioredis are installed.
import { Queue, Worker } from 'bullmq';
import { createRequire } from 'node:module';
const Redis = createRequire(import.meta.url)('ioredis');

const ROUND = 20000, PIPE = 500, PICKUPS = 500;
const connect = () => new Redis({ path: process.argv[2], maxRetriesPerRequest: null });
const tell = (name, value) => console.log(name, value.toPrecision(6));
const seconds = () => performance.now() / 1e3;
const data = { dataset: 'x'.repeat(64), output: 'x'.repeat(64) };
const redis = connect(), queue = new Queue('bench', { connection: connect() });

async function workOff(n) {
  const began = seconds();
  let left = n;
  await new Promise((done) => {
    const worker = new Worker('bench', async () => { if (--left === 0) setImmediate(() => worker.close().then(done)); }, { connection: connect() });
  });
  return n / (seconds() - began);
}

async function usedMemory() {
  return Number((await redis.info('memory')).match(/used_memory:(\d+)/)[1]);
}

await redis.flushall();
let began = seconds();
for (let i = 0; i < ROUND; i++) await queue.add('fit', data);
tell('submit_per_s', ROUND / (seconds() - began));
tell('finish_with_next_claim_per_s', await workOff(ROUND));

await redis.flushall();
await queue.add('fit', data);
let before = await usedMemory();
began = seconds();
for (let done = 0; done < ROUND; done += PIPE) await queue.addBulk(Array(PIPE).fill({ name: 'fit', data }));
tell('submit_piped_per_s', ROUND / (seconds() - began));
tell('queued_bytes_64', (await usedMemory() - before) / ROUND);
await workOff(ROUND);
tell('finished_bytes_64', (await usedMemory() - before) / ROUND);

await redis.flushall();
const ms = [];
let picked;
const worker = new Worker('bench', async () => { picked(); }, { connection: connect() });
await worker.waitUntilReady();
for (let i = 0; i < PICKUPS; i++) {
  await new Promise((r) => setTimeout(r, 10));
  const at = performance.now();
  const seen = new Promise((r) => { picked = r; });
  await Promise.all([queue.add('fit', data), seen]);
  ms.push(performance.now() - at);
}
await worker.close();
ms.sort((a, b) => a - b);
tell('pickup_p50_ms', ms[PICKUPS / 2]);
tell('pickup_p99_ms', ms[Math.floor(PICKUPS * 0.99)]);
process.exit(0);
