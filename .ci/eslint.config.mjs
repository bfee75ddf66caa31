// For the modules of the page and the report; `make lint` runs it where Node.js is there.

const browser = [
  ...["document", "window", "fetch", "EventSource", "Image", "ResizeObserver", "URLSearchParams", "console"],
  ...["setTimeout", "clearTimeout", "setInterval", "clearInterval", "requestAnimationFrame", "createImageBitmap"],
  ...["performance", "matchMedia"],
];
const shipped = ["d3", "Plot"];

export default [
  { ignores: ["**/vendor/**", "**/*.min.js", ".venv/**", "site/**", "build/**"] },
  {
    files: ["splitfed/views/**/*.js"],
    languageOptions: {
      ecmaVersion: 2024,
      sourceType: "module",
      globals: Object.fromEntries([...browser, ...shipped].map((name) => [name, "readonly"])),
    },
    linterOptions: { reportUnusedDisableDirectives: true },
    rules: {
      "no-undef": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      "no-shadow": "error",
      "no-implicit-globals": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-unreachable": "error",
      "no-dupe-keys": "error",
      "no-dupe-class-members": "error",
      "no-const-assign": "error",
      "require-atomic-updates": "off",
    },
  },
];
