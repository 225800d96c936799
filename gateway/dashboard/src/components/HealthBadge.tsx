import type { Health } from '../rest/api.ts';
import type { Polled } from '../rest/polled.ts';
import { count, duration, toneOf } from '../view/words.ts';
import { Dot } from './Status.tsx';

/** Figures of the lag that are older say so. */
const OLD_SECONDS = 5;
const POPOVER = 'health-details';

function wordOf(status: string): string {
  return status === 'ok' ? 'Healthy' : status.charAt(0).toUpperCase() + status.slice(1);
}

/** The overall health; a press opens the list of services and lags. */
export function HealthBadge({ health }: { readonly health: Polled<Health> }) {
  const { value, problem } = health;
  const status = problem ? 'unreachable' : (value?.status ?? 'waiting');
  const services = value?.services ?? [];
  const good = services.filter((service) => toneOf(service.status) === 'good').length;
  const tone = toneOf(status);
  return (
    <>
      <button type="button" className={`pill health ${tone}`} popoverTarget={POPOVER} title="Services and lag">
        <Dot tone={tone} />
        <span className="word">{wordOf(status)}</span>
        {services.length > 0 ? (
          <span className="figures">
            {good}/{services.length} services
          </span>
        ) : null}
      </button>
      <div id={POPOVER} popover="auto" className="popover" aria-label="Services and lag">
        {value && value.reasons.length > 0 ? (
          <>
            <h2>What is not well</h2>
            <ul className="reasons">
              {value.reasons.map((reason) => (
                <li key={reason}>{reason}</li>
              ))}
            </ul>
          </>
        ) : null}
        <h2>Services</h2>
        {problem ? <p className="bad">{problem}</p> : null}
        <ul>
          {services.map((service) => (
            <li key={service.name}>
              <Dot tone={toneOf(service.status)} />
              <b>{service.name}</b>
              <span>{service.status}</span>
              <small>{service.detail}</small>
            </li>
          ))}
        </ul>
        {value && value.lag.length > 0 ? (
          <>
            <h2>Lag</h2>
            <ul>
              {value.lag.map(({ name, records, seconds, ageSeconds }) => (
                <li key={name}>
                  <b>{name}</b>
                  <span>
                    {count(records)} records, {seconds.toFixed(1)} s
                  </span>
                  {ageSeconds > OLD_SECONDS ? <small>known {duration(ageSeconds * 1000)} ago</small> : null}
                </li>
              ))}
            </ul>
          </>
        ) : null}
        {value ? <p className="uptime">up {duration(value.uptimeSeconds * 1000)}</p> : null}
      </div>
    </>
  );
}
