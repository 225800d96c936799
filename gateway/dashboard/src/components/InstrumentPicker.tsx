import type { Instrument } from '../rest/api.ts';
import { symbolsOf, venuesOf, type Selection } from '../view/selection.ts';
import { venueName } from '../view/words.ts';

/** More choices than this go into a drop-down list. */
const SEGMENTS = 6;

interface ChoiceProps {
  readonly label: string;
  readonly name: string;
  readonly options: readonly string[];
  readonly value: string;
  readonly wordOf: (option: string) => string;
  readonly onChange: (option: string) => void;
}

/** Radio buttons that look like segments (arrow keys move), or a list when there are many. */
function Choice({ label, name, options, value, wordOf, onChange }: ChoiceProps) {
  if (options.length > SEGMENTS) {
    return (
      <label className="choice-list">
        <span className="visually-hidden">{label}</span>
        <select
          value={value}
          onChange={(event) => {
            onChange(event.target.value);
          }}
        >
          {options.map((option) => (
            <option key={option} value={option}>
              {wordOf(option)}
            </option>
          ))}
        </select>
      </label>
    );
  }
  return (
    <fieldset className="choice">
      <legend className="visually-hidden">{label}</legend>
      {options.map((option) => (
        <label key={option} className={option === value ? 'segment chosen' : 'segment'}>
          <input
            type="radio"
            className="visually-hidden"
            name={name}
            value={option}
            checked={option === value}
            onChange={() => {
              onChange(option);
            }}
          />
          {wordOf(option)}
        </label>
      ))}
    </fieldset>
  );
}

interface InstrumentPickerProps {
  readonly instruments: readonly Instrument[];
  readonly selection: Selection;
  readonly onSelect: (selection: Selection) => void;
}

export function InstrumentPicker({ instruments, selection, onSelect }: InstrumentPickerProps) {
  const venues = venuesOf(instruments, selection.symbol);
  return (
    <div className="picker">
      <Choice
        label="Symbol"
        name="symbol"
        options={symbolsOf(instruments)}
        value={selection.symbol}
        wordOf={(symbol) => symbol}
        onChange={(symbol) => {
          const listed = venuesOf(instruments, symbol);
          onSelect({ symbol, venue: listed.includes(selection.venue) ? selection.venue : (listed[0] ?? selection.venue) });
        }}
      />
      <Choice
        label="Venue"
        name="venue"
        options={venues}
        value={selection.venue}
        wordOf={venueName}
        onChange={(venue) => {
          onSelect({ symbol: selection.symbol, venue });
        }}
      />
    </div>
  );
}
