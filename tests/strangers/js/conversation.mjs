// The official JavaScript client, unmodified, holds a conversation in text mode and tells on standard output, in JSON,
// what it saw. Arguments: the simulator's WebSocket origin, or a signed URL.
import { Conversation } from "@elevenlabs/client";
import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket; // Node has one of its own from version 22 on

const target = process.argv[2];
const seen = { messages: [], calls: [], errors: [], statuses: [] };

const ended = new Promise((resolve) => {
  Conversation.startSession({
    ...(target.includes("conversation_signature") ? { signedUrl: target } : { agentId: "agent_demo", origin: target }),
    textOnly: true,
    dynamicVariables: { name: "Ada" },
    clientTools: {
      add: async (parameters) => {
        seen.calls.push(parameters);
        return parameters.a + parameters.b;
      },
    },
    onMessage: ({ source, message }) => seen.messages.push([source, message]),
    onStatusChange: ({ status }) => seen.statuses.push(status),
    onError: (message) => seen.errors.push(message),
    onDisconnect: resolve,
  }).then(
    (conversation) => {
      seen.conversation_id = conversation.getId();
      conversation.sendUserMessage("What is two and three?");
    },
    (error) => resolve({ reason: "refused", closeCode: error.closeCode, closeReason: error.closeReason }),
  );
});

seen.ended = await ended;
console.log(JSON.stringify(seen));
