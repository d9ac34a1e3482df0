// A program against the management API: node management_api.js ADDRESS USER PASSWORD
//
// Its client is openapi-fetch with the types that openapi-typescript generates from the description. So the compiler
// checks each path, parameter, body and answer here.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

const [address, user, password] = process.argv.slice(2) as [string, string, string];
const headers = { authorization: `Basic ${btoa(`${user}:${password}`)}` };
const client = createClient<paths>({ baseUrl: address, headers });

function must<T>(value: T | undefined, error: components["schemas"]["Problem"] | undefined): T {
  if (value === undefined) throw new Error(`${error?.status} ${error?.code}: ${error?.detail}`);
  return value;
}

function expect(condition: boolean, text: string): void {
  if (!condition) throw new Error(text);
}

// Lists, page by page, in an order.
const names: string[] = [];
for (let last: string | undefined; ; ) {
  const query = { n: 1, sort: "pushed", ...(last === undefined ? {} : { last }) };
  const { data, error, response } = await client.GET("/api/v1/repositories", { params: { query } });
  const page = must(data, error);
  names.push(...page.repositories.map((repository) => repository.name));
  const link = response.headers.get("link");
  if (link === null) break;
  last = new URL(link.slice(1, link.indexOf(">")), address).searchParams.get("last") ?? undefined;
}
expect(names.join() === "team/second,team/first", names.join());

// A name with a slash is one parameter of the path.
const path = { repository: "team/first" };
const tags = must(...pair(await client.GET("/api/v1/repositories/{repository}/_tags", { params: { path } })));
expect(tags.tags[0]?.tag === "1.0", JSON.stringify(tags));

function pair<T>(answer: { data?: T; error?: components["schemas"]["Problem"] }) {
  return [answer.data, answer.error] as const;
}

// Something is made, changed and removed.
const made = await client.POST("/api/v1/users", { body: { name: "ann", password: "correct horse battery staple" } });
expect(must(...pair(made)).name === "ann", "the user was not made");
const ann = { path: { user: "ann" } };
const read = await client.GET("/api/v1/users/{user}", { params: ann });
const tag = read.response.headers.get("etag");
expect(tag !== null, "no entity tag");
const change = { params: { ...ann, header: { "If-Match": tag! } }, body: { description: "Ann" } };
expect(must(...pair(await client.PATCH("/api/v1/users/{user}", change))).description === "Ann", "not changed");
const late = await client.PATCH("/api/v1/users/{user}", change);
expect(late.response.status === 412 && late.error?.code === "PRECONDITION_FAILED", "a lost update");
const removed = await client.DELETE("/api/v1/users/{user}", { params: ann });
expect(removed.response.status === 204, String(removed.response.status));
const gone = await client.GET("/api/v1/users/{user}", { params: ann });
expect(gone.error?.status === 404 && gone.error.detail.length > 0, JSON.stringify(gone.error));
console.log("done");
