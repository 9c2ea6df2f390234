// Preloaded into every process that `npm start` starts: its life ends with the supervisor's, however that ended (even
// by SIGKILL), because the IPC channel between them breaks. Takes the whole process group along: the edge's workerd
// processes have no tether of their own. Does nothing in a process started by hand.
if (process.channel) {
  process.once("disconnect", () => process.kill(-process.pid, "SIGKILL"));
  // The channel alone must not keep a process running that has finished.
  process.channel.unref();
}
