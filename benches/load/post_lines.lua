-- wrk script: posts every line of LINES_FILE once, in order, and prints one JSON line of results.
-- Environment: LINES_FILE, CONTENT_TYPE, EXPECT (text that a good answer's body contains), AUTHORIZATION (optional), THREADS.
-- A thread that has no more lines stops by itself; the rate counts the time in which there was something to send.

-- Microseconds since 1970; wrk's Lua has a clock of whole seconds only.
local ffi = require("ffi")
ffi.cdef("struct load_time { long s; long us; }; int gettimeofday(struct load_time *, void *);")
local time = ffi.new("struct load_time")
local function now_us()
  ffi.C.gettimeofday(time, nil)
  return tonumber(time.s) * 1000000 + tonumber(time.us)
end

local content_type = os.getenv("CONTENT_TYPE")
local authorization = os.getenv("AUTHORIZATION")
local expect = os.getenv("EXPECT")
local threads = tonumber(os.getenv("THREADS") or "1")

-- In the main state: numbers the threads and keeps them for `done`.
local all = {}
function setup(thread)
  thread:set("index", #all)
  all[#all + 1] = thread
end

-- In each thread's state. Globals, because `done` reads them by name.
good, bad, first_us, last_us = 0, 0, nil, nil
bad_example = ""
local requests, sent = {}, 0

function init(args)
  local headers = { ["Content-Type"] = content_type, ["Authorization"] = authorization }
  local number = 0
  for line in io.lines(os.getenv("LINES_FILE")) do
    if number % threads == index then
      requests[#requests + 1] = wrk.format("POST", nil, headers, line)
    end
    number = number + 1
  end
end

function request()
  if not first_us then first_us = now_us() end
  sent = sent + 1
  if sent > #requests then
    wrk.thread:stop()
    return requests[#requests]
  end
  return requests[sent]
end

function response(status, headers, body)
  last_us = now_us()
  if status == 200 and string.find(body, expect, 1, true) then
    good = good + 1
  else
    bad = bad + 1
    if bad_example == "" then bad_example = status .. " " .. string.sub(string.gsub(body, "[%c\"\\]", " "), 1, 200) end
  end
end

function done(summary, latency)
  local sum = { good = 0, bad = 0 }
  local first, last, example = math.huge, 0, ""
  for _, thread in ipairs(all) do
    sum.good = sum.good + thread:get("good")
    sum.bad = sum.bad + thread:get("bad")
    first = math.min(first, thread:get("first_us") or math.huge)
    last = math.max(last, thread:get("last_us") or 0)
    if example == "" then example = thread:get("bad_example") end
  end
  local errors = summary.errors
  local rarest = ""
  if sum.good + sum.bad >= 100000 then
    rarest = string.format('"p999_ms": %.2f, ', latency:percentile(99.9) / 1000)
  end
  io.write(string.format(
    '{"good": %d, "bad": %d, "broken": %d, "seconds": %.3f, "per_second": %.1f, "p50_ms": %.2f, "p99_ms": %.2f, %s"first_us": %.0f, "bad_example": "%s"}\n',
    sum.good, sum.bad, errors.connect + errors.read + errors.write + errors.timeout, (last - first) / 1e6,
    sum.good / ((last - first) / 1e6), latency:percentile(50) / 1000, latency:percentile(99) / 1000, rarest, first, example))
end
