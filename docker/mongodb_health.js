// For mongosh: the replica set is initiated once, then healthy means writable.
const fs = require("fs");
const password = fs.readFileSync(process.env.LYCB_PASSWORD_FILE, "utf8").trim();
const admin = db.getSiblingDB("admin");
admin.auth("lycb", password);
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: process.env.LYCB_MONGODB_HOST }] });
}
quit(admin.runCommand("hello").isWritablePrimary ? 0 : 1);
