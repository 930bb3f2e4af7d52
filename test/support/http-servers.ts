/** The ways in which SockJS is asked: a server of HTTP for each, and the certificate of the one with TLS. */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { after } from 'node:test';
import { makeCertificates } from './certificates.ts';

export const certificates = makeCertificates();
after(() => certificates.remove());

const pair = { cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) };

/** Each makes a server that does not listen yet. */
export const SERVERS = {
  'HTTP/1.1': () => createServer(),
  TLS: () => https.createServer(pair),
  'HTTP/2': () => http2.createServer() as unknown as Server,
};
export type Kind = keyof typeof SERVERS;
