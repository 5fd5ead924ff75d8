-- The demo's problems, made to order: hone generate configs/demo_problems.lua kind=sft split=train --n 4000 --seed 1
--
--   kind      sft: a dialogue with a worked solution    rl: the problem and its answer
--   split     train or heldout: by a hash of the arithmetic alone (numbers and operations, not names and words), so no held-out
--             problem repeats the arithmetic of a training problem
--   family    chain (the main one), compare, sequence, countdown; several with commas, dealt evenly
--   seed      another seed gives other problems; row i is a function of (seed, i)
--
-- Difficulty, all of it here and settable as words (`steps_max=3`):
local defaults = {
    kind = "sft", split = "train", family = "chain",
    steps_min = 2, steps_max = 3,  -- chain: operations per problem
    start_max = 9,                 -- chain: what one begins with
    change_max = 9,                -- largest number that is added or taken away
    limit = 15,                    -- no value on the way is larger (or below 0)
    double = 0,                    -- chain: share of steps that double the number
    shortcut = 0.5,                -- sft: share of solutions that only state the answer, as hasty annotators do
    slip = 0,                      -- sft: share of worked solutions with one slip, carried on to a wrong answer
    heldout = 10,                  -- one of this many arithmetic cores is held out
}

local names = { "Ann", "Ben", "Eva", "Finn", "Lea", "Max", "Mia", "Tom" }
local things = { "apples", "books", "cards", "coins", "pens", "shells" }
local gains = { "finds %d", "buys %d", "gets %d" }
local losses = { "loses %d", "gives %d", "sells %d" }

-- A step is { value before, sign, operand, value after }.
local function apply(value, sign, k)
    if sign == "+" then return value + k end
    if sign == "-" then return value - k end
    return value * k
end

-- Each family returns: core (what the split hashes), text, steps, answer[, extra fields of the row].
local family = {}

function family.chain(rng, o)
    local who, what = rng:pick(names), rng:pick(things)
    local value = rng:int(1, o.start_max)
    local core, text, steps = { value }, { string.format("%s has %d %s", who, value, what) }, {}
    for _ = 1, rng:int(o.steps_min, o.steps_max) do
        local sign, k = "+", rng:int(1, o.change_max)
        if rng:chance(o.double) and value > 0 and value * 2 <= o.limit then
            sign, k = "*", 2
        elseif value + k > o.limit or (rng:chance(0.5) and value >= k) then
            sign = "-"
        end
        if sign == "-" and value < k then k = value end
        if k == 0 then sign, k = "+", 1 end
        steps[#steps + 1] = { value, sign, k, apply(value, sign, k) }
        text[#text + 1] = sign == "*" and "doubles them" or string.format(rng:pick(sign == "+" and gains or losses), k)
        core[#core + 1] = sign .. k
        value = steps[#steps][4]
    end
    return "chain " .. table.concat(core), table.concat(text, ", ") .. ". How many now?", steps, value
end

function family.compare(rng, o)
    local who = rng:shuffle({ table.unpack(names) })
    local a, k = rng:int(1, o.limit // 3), rng:int(1, o.change_max)
    local sign = (rng:chance(0.5) and a > k) and "-" or "+"
    if 2 * a + k > o.limit and a > k then sign = "-" end
    local b, what = apply(a, sign, k), rng:pick(things)
    local text = string.format("%s has %d %s. %s has %d %s than %s. How many do they have together?", who[1], a, what, who[2], k,
        sign == "+" and "more" or "fewer", who[1])
    return "compare " .. a .. sign .. k, text, { { a, sign, k, b }, { a, "+", b, a + b } }, a + b
end

function family.sequence(rng, o)
    local d, first = rng:int(1, o.change_max // 2), rng:int(0, o.limit // 2)
    local s = { first, first + d, first + 2 * d, first + 3 * d }
    local text = "What comes next: " .. table.concat(s, ", ") .. "?"
    return "sequence " .. first .. "+" .. d, text, { { s[2], "-", s[1], d }, { s[4], "+", d, s[4] + d } }, s[4] + d
end

-- Use each number once; the answer is an expression, which configs/countdown_reward.lua checks.
function family.countdown(rng, o)
    local n = { rng:int(1, o.change_max), rng:int(1, o.change_max), rng:int(1, o.change_max) }
    local value, steps, expr = n[1], {}, tostring(n[1])
    for i = 2, 3 do
        local sign = (rng:chance(0.5) and value >= n[i]) and "-" or "+"
        steps[#steps + 1] = { value, sign, n[i], apply(value, sign, n[i]) }
        expr, value = expr .. " " .. sign .. " " .. n[i], steps[#steps][4]
    end
    local shown = rng:shuffle({ table.unpack(n) })
    local text = string.format("Use %d, %d and %d once each with + and - to make %d.", shown[1], shown[2], shown[3], value)
    table.sort(shown)
    return "countdown " .. table.concat(shown, ",") .. "=" .. value, text, steps, expr, { numbers = shown, target = value }
end

local function solution(rng, o, steps, answer)
    if rng:chance(o.shortcut) then return "#### " .. answer end
    local lines, at, carried = {}, rng:chance(o.slip) and rng:int(1, #steps) or 0, nil
    for i, s in ipairs(steps) do
        local from = (carried and s[1] == steps[i - 1][4]) and carried or s[1]
        local to = apply(from, s[2], s[3])
        if i == at then to = to + (rng:chance(0.5) and 1 or -1) * rng:int(1, 3) end
        if i >= at and at > 0 then carried = to end
        lines[i] = string.format("%d %s %d = %d", from, s[2], s[3], to)
    end
    if carried and type(answer) == "number" then answer = carried end
    lines[#lines + 1] = "#### " .. answer
    return table.concat(lines, "\n")
end

local options, wanted, seen

local function take_options(args)
    options, wanted, seen = {}, {}, {}
    for k, v in pairs(defaults) do options[k] = v end
    for k, v in pairs(args) do
        if defaults[k] == nil then error("no option '" .. k .. "' in demo_problems.lua", 0) end
        options[k] = v
    end
    for name in options.family:gmatch("[^,]+") do
        if not family[name] then error("no family '" .. name .. "'", 0) end
        wanted[#wanted + 1] = name
    end
    if options.split ~= "train" and options.split ~= "heldout" then error("split must be train or heldout", 0) end
    if options.kind ~= "sft" and options.kind ~= "rl" then error("kind must be sft or rl", 0) end
end

function generate(rng, i, args)
    if not options then take_options(args) end
    local name = wanted[i % #wanted + 1]
    local core, text, steps, answer, extra = family[name](rng, options)
    local held = hash(core) % options.heldout == 0
    if held ~= (options.split == "heldout") or seen[text] then return end
    seen[text] = true
    local row = { id = string.format("%s-%d", name, i), family = name, level = #steps, answer = tostring(answer) }
    for k, v in pairs(extra or {}) do row[k] = v end
    if options.kind == "sft" then
        row.messages = { { role = "user", content = text }, { role = "assistant", content = solution(rng, options, steps, answer) } }
    else
        row.prompt = text
    end
    emit(row)
end
