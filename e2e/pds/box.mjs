// A PLC directory and two PDSes on loopback, all new and all gone afterwards:
// the directory is in memory, and a PDS without its directory is worth nothing.
//
//   node box.mjs DATA-FOLDER
//
// It prints one line of JSON with the addresses when everything answers, and
// ends when its standard input does, so that it cannot outlive a test.
import { randomBytes } from 'node:crypto'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { mkdirSync } from 'node:fs'
import { Secp256k1Keypair } from '@atproto/crypto'
import { PDS, envToCfg, envToSecrets } from '@atproto/pds'
import plc from '@did-plc/server'

const data = process.argv[2]
const admin = randomBytes(16).toString('hex')

// Express listens on all interfaces unless told otherwise, and neither server
// can be told.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  if (typeof port === 'number' && typeof rest[0] !== 'string') return listen.call(this, port, '127.0.0.1', ...rest)
  return listen.call(this, port, ...rest)
}

// A PDS has to know its own address before it listens.
async function freePort() {
  const server = net.createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

const directory = plc.PlcServer.create({ db: plc.Database.mock(), port: await freePort() })
const plcServer = await directory.start()
const plcUrl = `http://localhost:${plcServer.address().port}`

async function startPDS(number) {
  const port = await freePort()
  const dir = path.join(data, `pds${number}`)
  mkdirSync(path.join(dir, 'blobs'), { recursive: true })
  const rotation = await Secp256k1Keypair.create({ exportable: true })
  const env = {
    devMode: true,
    port,
    hostname: 'localhost',
    serviceDid: `did:web:localhost%3A${port}`,
    dataDirectory: dir,
    blobstoreDiskLocation: path.join(dir, 'blobs'),
    didPlcUrl: plcUrl,
    serviceHandleDomains: [`.pds${number}.test`],
    // As PDSes have it, which decides how they refuse what they do not serve.
    bskyAppViewUrl: 'http://localhost:1',
    bskyAppViewDid: 'did:web:localhost%3A1',
    inviteRequired: false,
    rateLimitsEnabled: false,
    disableSsrfProtection: true,
    adminPassword: admin,
    jwtSecret: randomBytes(16).toString('hex'),
    dpopSecret: randomBytes(32).toString('hex'),
    plcRotationKeyK256PrivateKeyHex: Buffer.from(await rotation.export()).toString('hex'),
  }
  const pds = await PDS.create(envToCfg(env), envToSecrets(env))
  await pds.start()
  return { pds, url: `http://localhost:${port}`, domain: `.pds${number}.test` }
}

const hosts = [await startPDS(0), await startPDS(1)]

// What a PDS sends by mail: GET /token/NUMBER/PURPOSE/DID.
const mail = http.createServer(async (req, res) => {
  const [, , number, purpose, did] = decodeURIComponent(req.url).split('/')
  try {
    res.end(await hosts[number].pds.ctx.accountManager.createEmailToken(did, purpose))
  } catch (err) {
    res.writeHead(500).end(String(err))
  }
})
await new Promise((resolve) => mail.listen(0, '127.0.0.1', resolve))

process.stdout.write(
  JSON.stringify({
    plc: plcUrl,
    mail: `http://127.0.0.1:${mail.address().port}`,
    admin,
    hosts: hosts.map(({ url, domain }) => ({ url, domain })),
  }) + '\n',
)
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
