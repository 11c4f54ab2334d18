-- POSTs of the bodies in a file, one a line, in turn. Argument after `--`: the file.
-- Requests are spelt once: what is left per request is an index. The last line of output is for the benchmark.
local requests, turn = {}, 0

function init(args)
  wrk.method = "POST"
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format(nil, nil, { ["content-type"] = "application/json" }, body)
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
