// Parses an AsyncAPI document with the public parser and its Avro extension. Prints what it found as one JSON object.
// node check.mjs <folder with node_modules> <document>
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const require = createRequire(resolve(process.argv[2], 'package.json'));
const { Parser } = require('@asyncapi/parser');
const { AvroSchemaParser } = require('@asyncapi/avro-schema-parser');

const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
const { document, diagnostics } = await parser.parse(readFileSync(process.argv[3], 'utf8'));
console.log(JSON.stringify({
  findings: diagnostics.map(({ code, message, path }) => `${path.join('.')}: ${message} (${code})`),
  channels: document ? document.channels().all().map((channel) => channel.address()) : [],
  records: document ? document.allMessages().all().map((message) => message.name()) : [],
}));
