-- What wrk does for bench/soak.py: asks for orders, thinks in between, counts wrong answers, and prints all it found as one line
-- of JSON.

local threads = {}

function setup(thread)
  thread:set("seed", #threads + os.time())
  table.insert(threads, thread)
end

function init(arguments)
  math.randomseed(seed)
  sent, answered, wrong = 0, 0, 0
end

function request()
  sent = sent + 1
  return wrk.format("GET", "/orders/" .. math.random(0, 499))
end

-- Milliseconds before the next request of a connection.
function delay()
  return math.random(10, 30)
end

function response(status, headers, body)
  answered = answered + 1
  if status ~= 200 or not body:find('"accepted": true', 1, true) then
    wrong = wrong + 1
  end
end

function done(summary, latency, requests)
  local total = { sent = 0, answered = 0, wrong = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(total) do
      total[name] = total[name] + thread:get(name)
    end
  end
  local times = {}
  for i = 1, #latency do
    local microseconds, count = latency(i)
    times[i] = string.format("[%d,%d]", microseconds, count)
  end
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"sent":%d,"answered":%d,"wrong":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d,"latency":[%s]}\n',
    total.sent, total.answered, total.wrong, errors.connect, errors.read, errors.write, errors.timeout, errors.status,
    table.concat(times, ",")))
end
