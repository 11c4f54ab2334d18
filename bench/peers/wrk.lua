-- POSTs of a fixed size by some users in turn. Arguments after `--`: bytes of the body, number of users.
-- Requests are spelt once: what is left per request is an index. The last line of output is for the benchmark.
local requests, turn = {}, 0

function init(args)
  local size, users = tonumber(args[1]), tonumber(args[2])
  wrk.method = "POST"
  wrk.body = string.rep("A", size)
  for i = 1, users do
    local headers = { ["content-type"] = "application/json", ["x-user-id"] = string.format("u%08d", i) }
    requests[i] = wrk.format(nil, nil, headers)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("figures %d %d %d %d %.1f %.1f %.1f\n", summary.requests, summary.duration, errors.status, broken,
    latency:percentile(50), latency:percentile(99), latency.max))
end
