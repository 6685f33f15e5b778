// Puts hosts into the database of a stopped relay: it takes none on loopback by
// request, whatever its settings.
//
//   node hosts.mjs DATABASE HOST:PORT…
import Database from 'better-sqlite3'

const [file, ...hosts] = process.argv.slice(2)
const db = new Database(file)
// last_seq 0: all that the PDS has, and not only what comes from now on.
const insert = db.prepare(`
  insert into host (created_at, updated_at, hostname, no_ssl, account_limit, trusted, status, last_seq)
  values (current_timestamp, current_timestamp, ?, 1, 100000, 1, 'active', 0)`)
for (const host of hosts) insert.run(host)
