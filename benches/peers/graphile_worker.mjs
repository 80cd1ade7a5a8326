// graphile-worker, tuned as its documents advise: a local queue, batched completion, jobs added in bulk. Each job makes
// the same HTTP call as ours and is then complete. Prints the seconds from the start of the worker to the last completion.
import { readFileSync } from "node:fs";
import pg from "pg";
import { Pool as HttpPool } from "undici";
import { Logger, run, runMigrations } from "graphile-worker";

const how = JSON.parse(readFileSync(process.argv[2], "utf8"));
const pgPool = new pg.Pool({ host: how.socket_dir, port: 5432, user: "campaignd", database: how.database, max: 24 });
const preset = {
  worker: {
    concurrentJobs: how.in_flight,
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    localQueue: { size: 2 * how.in_flight },
    pollInterval: 1000,
    // A line for each job would cost more than the job.
    logger: new Logger(() => () => {}),
  },
};
for (const event of ["error", "connect"]) pgPool.on(event, () => {});
await runMigrations({ pgPool, preset });
await pgPool.query(
  `SELECT count(*) FROM (SELECT graphile_worker.add_jobs(array_agg(json_populate_record(NULL::graphile_worker.job_spec,
     json_build_object('identifier', 'send', 'payload', json_build_object('no', no)))))
   FROM generate_series(1, $1) AS no GROUP BY no / 10000) AS added`,
  [how.messages],
);
const left = async () => Number((await pgPool.query("SELECT count(*) FROM graphile_worker.jobs")).rows[0].count);
if ((await left()) !== how.messages) throw new Error("the jobs were not added");

await pgPool.query("VACUUM ANALYZE");

const http = new HttpPool(how.origin, { connections: how.in_flight, pipelining: 1 });
let done = 0;
let finished;
const called = new Promise((resolve) => (finished = resolve));
const send = async (payload) => {
  const body = how.body.replace("919800000000", String(919800000000 + payload.no));
  const answer = await http.request({ method: "POST", path: how.path, headers: how.headers, body });
  const said = await answer.body.json();
  if (!said.data?.id) throw new Error("refused");
  if (++done === how.messages) finished();
};
const start = process.hrtime.bigint();
const runner = await run({ pgPool, preset, taskList: { send }, noHandleSignals: true });
await called;
while ((await left()) > 0) await new Promise((resolve) => setTimeout(resolve, 10));
console.log(JSON.stringify({ elapsed_us: Number(process.hrtime.bigint() - start) / 1000 }));
await runner.stop();
await http.close();
await pgPool.end();
process.exit(0);
