'use strict';

// A bcoin full node on regtest for the tests: RPC alone, no peers.
//
//   node node.js --port=0 --api-key=KEY [--prefix=DIRECTORY]
//
// Prints `ready PORT` once it serves. With a prefix the chain is kept there, else in memory. SIGTERM ends it.

process.env.NODE_BACKEND = 'js';

// bcoin's own regtest is laxer than everyone else's and takes 432 blocks to segwit. This makes it as strict as a kernel
// can be asked to be, with the addresses that the rest of the world uses. It must come before anything reads it.
const {regtest} = require('bcoin/lib/protocol/networks');
Object.assign(regtest.block, {bip34height: 1, bip65height: 1, bip66height: 1});
Object.assign(regtest, {minerWindow: 8, activationThreshold: 6});       // segwit from height 24
Object.assign(regtest.addressPrefix, {pubkeyhash: 0x6f, scripthash: 0xc4, bech32: 'bcrt'});
regtest.keyPrefix.privkey = 0xef;

const FullNode = require('bcoin/lib/node/fullnode');

function readOptions(words) {
  return Object.fromEntries(words.map((word) => word.replace(/^--/, '').split('=')));
}

async function main() {
  const options = readOptions(process.argv.slice(2));
  const node = new FullNode({
    network: 'regtest',
    memory: !options.prefix,
    prefix: options.prefix,
    apiKey: options['api-key'],
    httpHost: '127.0.0.1',
    httpPort: Number(options.port),
    listen: false,
    workers: false,
    logLevel: 'none',
    logConsole: false,
    logFile: false,
    env: false,
    argv: false
  });

  let isClosing = false;
  process.on('SIGTERM', async () => {
    if (!isClosing) {
      isClosing = true;
      // It waits for its clients to hang up, and one in a long poll never does.
      setInterval(() => node.http.http.closeAllConnections(), 10);
      await node.close();
      process.exit(0);
    }
  });

  await node.ensure();
  await node.open();              // and no connect(): without it there is no p2p at all
  console.log(`ready ${node.http.http.address().port}`);
}

main().catch((error) => {
  console.error(error.stack);
  process.exit(1);
});
