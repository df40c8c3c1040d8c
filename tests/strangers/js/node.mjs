// The official JavaScript client in Node.js. Plans come on standard input, what it saw goes to standard output, in JSON.
import { readFileSync } from "node:fs";
import * as library from "@elevenlabs/client";
import WebSocket from "ws";
import { carryOut } from "./converse.js";

globalThis.WebSocket ??= WebSocket; // Node has one of its own from version 22 on

const { plans } = JSON.parse(readFileSync(0));
const seen = await Promise.all(Object.entries(plans).map(async ([name, plan]) => [name, await carryOut(library, plan)]));
console.log(JSON.stringify(Object.fromEntries(seen)));
process.exit(0);
