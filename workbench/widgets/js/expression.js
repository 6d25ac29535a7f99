// Conditions on a run's state, as in `r1 s< 10 && w2 == 0x2a`: C's operators over unsigned 64-bit
// integers, BPF's `s<` and its like for signed ones. Parsed to closures; nothing is evaluated as code.

const MASK = (1n << 64n) - 1n;
const TOKEN = /\s*(0x[0-9a-f]+|\d+|s[<>]=?(?=[\s\d(rw-])|[a-z]\w*|<<|>>|[<>=!]=|&&|\|\||[-+*/%&|^<>~!()])/iy;
const truth = (test) => (test ? 1n : 0n);
const signed = (value) => BigInt.asIntN(64, value);

// Operator -> [how tightly it binds, its function]; && and || are apart, for they may not look right.
const BINARY = {
  __proto__: null,
  "||": [1], "&&": [2],
  "|": [3, (a, b) => a | b], "^": [4, (a, b) => a ^ b], "&": [5, (a, b) => a & b],
  "==": [6, (a, b) => truth(a === b)], "!=": [6, (a, b) => truth(a !== b)],
  "<": [7, (a, b) => truth(a < b)], "<=": [7, (a, b) => truth(a <= b)],
  ">": [7, (a, b) => truth(a > b)], ">=": [7, (a, b) => truth(a >= b)],
  "s<": [7, (a, b) => truth(signed(a) < signed(b))], "s<=": [7, (a, b) => truth(signed(a) <= signed(b))],
  "s>": [7, (a, b) => truth(signed(a) > signed(b))], "s>=": [7, (a, b) => truth(signed(a) >= signed(b))],
  "<<": [8, (a, b) => a << (b & 63n)], ">>": [8, (a, b) => a >> (b & 63n)],
  "+": [9, (a, b) => a + b], "-": [9, (a, b) => a - b],
  "*": [10, (a, b) => a * b], "/": [10, (a, b) => (b ? a / b : 0n)], "%": [10, (a, b) => (b ? a % b : a)],
};
const UNARY = { __proto__: null, "-": (a) => -a, "~": (a) => ~a, "!": (a) => truth(a === 0n) };

/**
 * Text -> {names, evaluate(scope)}: the names it uses, and its value as an unsigned 64-bit BigInt.
 * `known` maps a name to a function of the scope. Throws an Error that says what is wrong.
 */
export function parseExpression(text, known) {
  const tokens = tokenize(text), names = new Set();
  let at = 0;

  function expression(least) {
    let left = unary();
    for (;;) {
      const [binds, f] = BINARY[tokens[at]] ?? [0];
      if (binds < least || !binds) return left;
      const sign = tokens[at++], right = expression(binds + 1);
      left = join(sign, f, left, right);
    }
  }

  function unary() {
    const f = UNARY[tokens[at]];
    if (!f) return primary();
    at++;
    const operand = unary();
    return (scope) => BigInt.asUintN(64, f(operand(scope)));
  }

  function primary() {
    const token = tokens[at++];
    if (token === undefined) throw new Error("the condition ends too early");
    if (token === "(") {
      const inner = expression(1);
      if (tokens[at++] !== ")") throw new Error("a ) is missing");
      return inner;
    }
    if (/^\d/.test(token)) return constant(BigInt(token));
    if (!Object.hasOwn(known, token)) throw new Error(`'${token}' is not known; there is ${summary(known)}`);
    names.add(token);
    return known[token];
  }

  const evaluate = expression(1);
  if (at < tokens.length) throw new Error(`'${tokens[at]}' was not expected there`);
  return { names, evaluate };
}

function tokenize(text) {
  const tokens = [];
  const end = text.trimEnd().length;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < end) {
    const from = TOKEN.lastIndex, found = TOKEN.exec(text);
    if (!found) throw new Error(`'${text.slice(from).trim()[0]}' was not expected in a condition`);
    tokens.push(found[1].toLowerCase());
  }
  return tokens;
}

const constant = (value) => () => value & MASK;

function join(sign, f, left, right) {
  if (sign === "&&") return (scope) => truth(left(scope) && right(scope));
  if (sign === "||") return (scope) => truth(left(scope) || right(scope));
  return (scope) => BigInt.asUintN(64, f(left(scope), right(scope)));
}

const summary = (known) => Object.keys(known).filter((name) => !/^([rw](?!0$)\d+)$/.test(name)).join(", ")
  .replace("r0", "r0 to r10").replace("w0", "w0 to w10");
