/*
 * people.js - people with a real client library and real end-to-end encryption: one JSON order per line
 * on standard input, one JSON answer per line on standard output. Everything else goes to standard error.
 *
 * usage: node people.js FOLDER    FOLDER holds node_modules
 */
"use strict";

const http = require("http");
const path = require("path");
const readline = require("readline");
const { createRequire } = require("module");

const library = createRequire(path.join(path.resolve(process.argv[2]), "x.js"));
for (const kind of ["log", "info", "debug", "trace", "warn"]) console[kind] = console.error;
library("matrix-js-sdk/lib/logger").logger.setLevel("warn", false);
const sdk = library("matrix-js-sdk");

const people = new Map();

/* fetch() over TCP or a unix socket, each request on a connection of its own. */
function fetchOver(where, headers) {
	return (input, init = {}) => new Promise((resolve, reject) => {
		const url = new URL(input);
		/* nobody here tells others of being online: that alone would be traffic to their servers */
		if (url.pathname.endsWith("/sync")) url.searchParams.set("set_presence", "offline");
		const request = http.request({
			...where, agent: false, method: init.method ?? "GET", path: url.pathname + url.search,
			headers: { ...init.headers, ...headers }, signal: init.signal,
		}, (response) => {
			const parts = [];
			response.on("data", (part) => parts.push(part));
			response.on("error", reject);
			response.on("end", () => resolve(new Response(Buffer.concat(parts), {
				status: response.statusCode, headers: { "content-type": response.headers["content-type"] ?? "" },
			})));
		});
		request.on("error", reject);
		request.end(init.body);
	});
}

function synced(client) {
	return new Promise((resolve) => {
		const listen = (state) => {
			if (state !== "PREPARED" && state !== "SYNCING") return;
			client.off("sync", listen);
			resolve();
		};
		client.on("sync", listen);
	});
}

const orders = {
	async start({ name, user, token, device, where, headers }) {
		const client = sdk.createClient({
			baseUrl: "http://homeserver", userId: user, accessToken: token, deviceId: device,
			fetchFn: fetchOver(where, headers), localTimeoutMs: 60000,
		});
		await client.initRustCrypto({ useIndexedDB: false });
		people.set(name, client);
		const ready = synced(client);
		await client.startClient({ initialSyncLimit: 200 });
		await ready;
		return { crypto: client.getCrypto().getVersion() };
	},
	/* The homeserver is back: do not wait for the next look at it. */
	async hurry({ name }) {
		people.get(name).retryImmediately();
		return { state: people.get(name).getSyncState() };
	},
	/* Encrypted if the room is; says how it left. */
	async say({ name, room, text }) {
		const client = people.get(name);
		const sent = await client.sendEvent(room, "m.room.message", { msgtype: "m.text", body: text });
		const event = client.getRoom(room).findEventById(sent.event_id);
		return { event_id: sent.event_id, wire: event ? event.getWireType() : null };
	},
	/* The next message needs a new room key, which goes to every device of the room. */
	async rekey({ name, room }) {
		await people.get(name).getCrypto().forceDiscardSession(room);
		return {};
	},
	async read({ name, room }) {
		const known = people.get(name).getRoom(room);
		if (!known) return { events: [], encrypted: false };
		const events = known.getLiveTimeline().getEvents().map((event) => ({
			event_id: event.getId(), wire: event.getWireType(), type: event.getType(),
			body: event.getContent().body ?? null, failed: event.isDecryptionFailure(),
			session: event.getWireContent().session_id ?? null,
		}));
		return { events, members: known.getJoinedMemberCount(),
			encrypted: people.get(name).isRoomEncrypted(room) };
	},
	/* Devices of a user, as this client knows them. */
	async devices({ name, user }) {
		const found = await people.get(name).getCrypto().getUserDeviceInfo([user], true);
		return { devices: [...(found.get(user)?.keys() ?? [])] };
	},
};

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
	const order = JSON.parse(line);
	let answer;
	try {
		answer = await orders[order.order](order);
	} catch (error) {
		answer = { error: String(error.stack ?? error) };
	}
	process.stdout.write(JSON.stringify(answer) + "\n");
}).on("close", () => process.exit(0));
process.on("unhandledRejection", (error) => console.error("unhandled:", error));
