// SPDX-License-Identifier: MIT OR Apache-2.0
// The connection to the server: requests, and the socket with commands, events and pictures.

import { Signal } from "./dom.js";

const STORE = "cnnvideo-studio-token";

/** Takes the token from the address, where it would be seen, into the memory of this tab. */
async function takeToken() {
  let given = location.hash.slice(1);
  if (given) history.replaceState(null, "", location.pathname);
  if (given.startsWith("code=")) given = await exchange(given.slice("code=".length));
  if (/^[0-9a-f]{32}$/.test(given)) sessionStorage.setItem(STORE, given);
  return sessionStorage.getItem(STORE) || "";
}

/** Exchanges the code of an address that works once. */
async function exchange(code) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("/api/login", {
    method: "POST",
    headers,
    body: JSON.stringify({ code }),
  });
  return answer.ok ? answer.json() : "";
}

const token = await takeToken();

/** Sends a request and returns the answer; throws the problem that the server reports. */
export async function request(method, path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw { text: "the studio does not answer", advice: "start it again" };
  }
  const text = await response.text();
  if (response.ok) return text ? JSON.parse(text) : null;
  let problem;
  try {
    problem = JSON.parse(text);
  } catch {
    problem = { text: text.trim() || `status ${response.status}`, advice: "load the page again" };
  }
  throw problem;
}

export const onEvent = new Signal();
export const onPicture = new Signal();
export const onState = new Signal();

let socket = null;
let delay = 500;

/** Opens the socket, and again whenever it closes. */
export function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/api/socket`, [
    "cnnvideo-studio",
    `token.${token}`,
  ]);
  socket.binaryType = "arraybuffer";
  let opened = false;
  socket.onopen = () => {
    opened = true;
    delay = 500;
    onState.emit("open");
  };
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") onEvent.emit(JSON.parse(data));
    else onPicture.emit(data);
  };
  socket.onclose = ({ reason }) => {
    onState.emit("closed", { opened, reason });
    setTimeout(connect, delay);
    delay = Math.min(delay * 2, 8000);
  };
}

/** Sends a command. While there is no connection it is lost: the page sends its state again. */
export function send(type, fields = {}) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ...fields }));
}
