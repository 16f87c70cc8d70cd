/**
 * Text in Unicode code points. Offsets of the protocol count these; strings of
 * JavaScript count UTF-16 units, of which an emoji has two or more.
 *
 * Half a surrogate pair counts as one, as Python counts it.
 */

/**
 * @param {string} text
 * @returns {number} Its length in code points.
 */
export function countOf(text) {
  let count = text.length;
  for (let i = 0; i + 1 < text.length; i += 1) {
    if (isHigh(text.charCodeAt(i)) && isLow(text.charCodeAt(i + 1))) {
      count -= 1;
      i += 1;
    }
  }
  return count;
}

/**
 * @param {string} text
 * @param {number} count Its length in code points.
 * @param {number} from In code points.
 * @param {number} to In code points.
 * @returns {string} The part of the text between two code points.
 */
export function sliceOf(text, count, from, to = count) {
  if (from <= 0 && to >= count) return text;
  if (count === text.length) return text.slice(from, to);
  const start = unitOf(text, 0, from);
  return text.slice(start, to >= count ? text.length : unitOf(text, start, to - from));
}

/**
 * @param {string} text
 * @param {number} unit Where to begin, in UTF-16 units.
 * @param {number} count How many code points further.
 * @returns {number} That place in UTF-16 units.
 */
function unitOf(text, unit, count) {
  let at = unit;
  for (let passed = 0; passed < count && at < text.length; passed += 1) {
    at += isHigh(text.charCodeAt(at)) && isLow(text.charCodeAt(at + 1)) ? 2 : 1;
  }
  return at;
}

/**
 * @param {string} text
 * @returns {boolean} Whether it has no half of a surrogate pair, so that it has a UTF-8.
 */
export function isWellFormed(text) {
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (isLow(unit)) return false;
    if (isHigh(unit)) {
      if (!isLow(text.charCodeAt(i + 1))) return false;
      i += 1;
    }
  }
  return true;
}

/** @param {number} unit */
function isHigh(unit) {
  return unit >= 0xd800 && unit <= 0xdbff;
}

/** @param {number} unit */
function isLow(unit) {
  return unit >= 0xdc00 && unit <= 0xdfff;
}
