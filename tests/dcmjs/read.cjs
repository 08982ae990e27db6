// What dcmjs reads in SEG and SR files, as one JSON document: node read.cjs DCMJS FILE...
// Hides dcmjs's tables of elements. Promises to say what it read and nothing that it was told.
"use strict";

const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");

const { data, log } = require(require("node:path").resolve(process.argv[2]));
log.setLevel("error");

const IMAGING_MEASUREMENTS = "126010";

const all = (set, tag) => (set[tag] && set[tag].Value) || [];
const one = (set, tag) => all(set, tag)[0];

function code(item) {
  return [one(item, "00080100"), one(item, "00080102"), one(item, "00080104")];
}

function segments(set) {
  return all(set, "00620002").map((segment) => {
    const kind = one(segment, "0062000F");
    return {
      number: one(segment, "00620004"),
      label: one(segment, "00620005"),
      category: code(one(segment, "00620003")),
      kind: code(kind),
      sides: all(kind, "00620011").map(code),
      tracking: one(segment, "00620021"),
      colour: all(segment, "0062000D"),
    };
  });
}

function frames(set) {
  const stored = one(set, "7FE00010");
  const pixels = one(set, "00280100") === 1 ? data.BitArray.unpack(stored) : new Uint8Array(stored);
  const [rows, columns] = [one(set, "00280010"), one(set, "00280011")];
  return all(set, "52009230").map((frame, number) => {
    const plane = pixels.subarray(number * rows * columns, (number + 1) * rows * columns);
    const shown = plane.map((pixel) => (pixel ? 1 : 0));
    const image = one(one(frame, "00089124"), "00082112");
    return {
      segment: one(one(frame, "0062000A"), "0062000B"),
      pixels: shown.reduce((sum, pixel) => sum + pixel, 0),
      sha256: createHash("sha256").update(shown).digest("hex"),
      image: one(image, "00081155"),
    };
  });
}

function statement(item) {
  const below = all(item, "0040A730");
  const said = { type: one(item, "0040A040"), concept: code(one(item, "0040A043")) };
  const measured = one(item, "0040A300");
  const referred = one(item, "00081199");
  const value = {
    CODE: () => code(one(item, "0040A168")),
    TEXT: () => one(item, "0040A160"),
    UIDREF: () => one(item, "0040A124"),
    NUM: () => [Number(one(measured, "0040A30A")), code(one(measured, "004008EA"))],
    SCOORD: () => [one(item, "00700023"), all(item, "00700022")],
    IMAGE: () => [one(referred, "00081155"), ...all(referred, "00081160").map(Number)],
  }[said.type];
  if (value) said.value = value();
  if (below.length) said.below = below.map(statement);
  return said;
}

function groups(set) {
  const measured = all(set, "0040A730").filter((item) => one(one(item, "0040A043"), "00080100") === IMAGING_MEASUREMENTS);
  return measured.flatMap((item) => all(item, "0040A730")).map((group) => all(group, "0040A730").map(statement));
}

function read(path) {
  const { buffer, byteOffset, byteLength } = readFileSync(path);
  const set = data.DicomMessage.readFile(buffer.slice(byteOffset, byteOffset + byteLength)).dict;
  if (one(set, "00080060") === "SEG") return { segments: segments(set), frames: frames(set) };
  return { groups: groups(set) };
}

process.stdout.write(JSON.stringify(process.argv.slice(3).map(read)));
