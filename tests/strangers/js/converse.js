// One plan carried out by the official JavaScript client, unmodified: the same in Node.js and in a browser.
// `library` is the client's module. Returns what it saw; what it does not offer is named in `lacks`.
const LIMIT = 20_000; // milliseconds for one plan

export async function carryOut(library, plan) {
  const seen = {
    agent: [], user: [], parts: [], corrections: [], calls: [], errors: [], debug: [], modes: [], statuses: [],
    interruptions: 0, latencies: 0, chunks: 0, volume: 0, lacks: [],
  };
  if (plan.voice && typeof AudioContext === "undefined") return { ...seen, lacks: ["voice"] };
  if (plan.mint) return { ...seen, lacks: ["mint"] }; // a key is nothing for a page: its server would ask for the URL
  const origin = plan.url.replace("http", "ws");

  let sampling;
  const ended = new Promise((resolve) => {
    setTimeout(() => resolve({ reason: "still there" }), LIMIT);
    start(library, plan, origin, seen, resolve).then(
      async (conversation) => {
        seen.connected = conversation.getId();
        sampling = setInterval(() => {
          seen.last_volume = conversation.getOutputVolume();
          seen.volume = Math.max(seen.volume, seen.last_volume);
        }, 20);
        for (const [action, value] of plan.do) await act(library, conversation, plan, seen, action, value);
      },
    ).catch((error) => resolve({ reason: "failed", message: error.message, closeCode: error.closeCode, closeReason: error.closeReason }));
  });
  const { reason, message, closeCode, closeReason, context } = await ended;
  clearInterval(sampling);
  seen.ended = [reason, closeCode ?? null, closeReason ?? message ?? context?.type ?? null];
  return seen;
}

function start(library, plan, origin, seen, resolve) {
  return library.Conversation.startSession({
    ...(plan.signed_url ? { signedUrl: plan.signed_url } : { agentId: "agent_demo" }),
    ...(plan.webrtc ? { origin: plan.url } : { origin, connectionType: "websocket" }), // voice is WebRTC by default
    textOnly: !plan.voice,
    dynamicVariables: { name: "Ada" },
    ...(plan.override ? { overrides: { agent: { firstMessage: plan.override } } } : {}),
    clientTools: {
      add: ({ a, b }) => (seen.calls.push(["add", a, b]), a + b),
      get_stuck: () => { throw new Error("the volume is stuck"); },
      describe: () => ({ level: 7 }),
      count: () => 0,
    },
    onMessage: ({ source, message }) => seen[source === "ai" ? "agent" : "user"].push(message),
    onAgentChatResponsePart: ({ type, text }) => seen.parts.push([type, text]),
    onAgentResponseCorrection: ({ corrected_agent_response }) => seen.corrections.push(corrected_agent_response),
    onInterruption: () => seen.interruptions++,
    onModeChange: ({ mode }) => seen.modes.push(mode),
    onAudio: () => seen.chunks++,
    onPing: ({ ping_ms }) => (seen.latencies += typeof ping_ms === "number"),
    onStatusChange: ({ status }) => seen.statuses.push(status),
    onDebug: (event) => seen.debug.push(event.type),
    onError: (message) => seen.errors.push(message),
    onDisconnect: resolve,
  });
}

async function act(library, conversation, plan, seen, action, value) {
  const id = conversation.getId();
  switch (action) {
    case "await": // so many responses of the agent's
      while (seen.agent.length < value && conversation.isOpen()) await new Promise((resolve) => setTimeout(resolve, 10));
      break;
    case "say": conversation.sendUserMessage(value); break;
    case "update": conversation.sendContextualUpdate(value); break;
    case "activity": conversation.sendUserActivity(); break;
    case "like": conversation.sendFeedback(true); break;
    case "rate": seen.rated = (await library.postOverallFeedback(id, true, plan.url)).status; break;
    case "show": {
      const { fileId } = await conversation.uploadFile(new Blob([value], { type: "image/png" }));
      seen.file = fileId;
      conversation.sendMultimodalMessage({ text: "What is this?", fileId });
      break;
    }
    case "end": await conversation.endSession(); break;
    case "speak": break; // the microphone is always on
  }
}
