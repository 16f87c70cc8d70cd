/** In a browser: its own EventSource reads a run's events until it closes for good. */

export default async function main({ url }) {
  const source = new EventSource(url);
  const messages = [];
  source.onmessage = ({ data }) => messages.push(JSON.parse(data));
  await new Promise((done) => {
    source.onerror = () => source.readyState === EventSource.CLOSED && done();
  });
  return { messages, cookie: document.cookie };
}
