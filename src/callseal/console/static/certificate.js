// A certificate of destruction, drawn from what the custodian attested.

import { fill, find, showMoment } from "./page.js";

export const drawCertificate = (certificate) =>
  fill(find("#certificate"), {
    what: certificate.what,
    words: certificate.words,
    when: showMoment(certificate.at),
    method: certificate.method,
    limit: certificate.limit ?? "none stated",
    why: certificate.why,
    exports: certificate.exports_words,
    entry: String(certificate.log_index ?? "–"),
  });
